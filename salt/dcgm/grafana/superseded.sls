# Once ours runs: takes away what was put into a Grafana of others before.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.grafana.service

Remove the dashboards that ours supersede:
  dcgm_grafana.removed:
    - require:
      - dcgm_grafana_own: Start {{ dcgm.paths.grafana_unit }}
