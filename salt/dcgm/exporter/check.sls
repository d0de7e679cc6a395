# Before anything of the exporter is changed on a node: is another exporter there? All states that change it require this.
{%- from "dcgm/map.jinja" import dcgm with context %}

Check that no other exporter is in the way:
  dcgm_ownership.granted:
    - name: {{ dcgm.paths.unit }}
    - endpoint: {{ dcgm.node.environment.DCGM_EXPORTER_LISTEN | tojson }}
    - roles: {{ dcgm.roles | tojson }}
{%- if dcgm.exporter.facts.notice %}

Check what is known of dcgm-exporter {{ dcgm.exporter.release }}:
  test.show_notification:
    - text: {{ dcgm.exporter.facts.notice | tojson }}
{%- endif %}
