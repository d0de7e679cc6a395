# Grafana on the monitoring host: our own, or dashboards for one of others. Elsewhere what is left of it is removed.
{%- from "dcgm/map.jinja" import dcgm with context %}

include: {{ dcgm.node.grafana | tojson }}
