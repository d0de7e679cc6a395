# The one place that decides whether the exporter runs. Alone, it only follows the node's roles.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter = dcgm.exporter %}

Run dcgm-exporter where the roles of the node want it:
  dcgm_release.serving:
    - name: {{ dcgm.paths.unit }}
    - release: '{{ exporter.release }}'
    - roles: {{ dcgm.roles | tojson }}
    - url: {{ dcgm.node.metrics_url }}
    - timeout: {{ exporter.start_timeout }}
    - files: {{ [exporter.web_config] | select | list | tojson }}

Keep {{ exporter.keep }} releases of dcgm-exporter:
  dcgm_release.pruned:
    - keep: {{ exporter.keep }}
    - release: '{{ exporter.release }}'
    - require:
      - dcgm_release: Run dcgm-exporter where the roles of the node want it
