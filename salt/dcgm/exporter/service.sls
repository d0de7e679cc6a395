# The one place that decides whether the exporter runs. Alone, it only follows the node's roles.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter = dcgm.exporter %}

Start or stop dcgm-exporter as the node's roles say:
  dcgm_service.follows_roles:
    - name: {{ dcgm.paths.unit }}
    - release: '{{ exporter.release }}'
    - schema: {{ exporter.facts.metrics }}
    - roles: {{ dcgm.roles | tojson }}
    - url: {{ dcgm.node.metrics_url }}
    - timeout: {{ exporter.start_timeout }}
    - files: {{ [dcgm.node.web_config.path] | select | list | tojson }}

Remove old releases of dcgm-exporter:
  dcgm_release.pruned:
    - keep: {{ exporter.keep }}
    - release: '{{ exporter.release }}'
    - require:
      - dcgm_service: Start or stop dcgm-exporter as the node's roles say
