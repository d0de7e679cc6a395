# Takes our own Grafana away. Its data stays, with the secrets that read it, and so does the package.
{%- from "dcgm/map.jinja" import dcgm with context %}

Remove {{ dcgm.paths.grafana_unit }}:
  dcgm_grafana_own.removed:
    - name: {{ dcgm.paths.grafana_unit }}
