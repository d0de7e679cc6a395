# Prometheus on the monitoring host: our own, or what an existing one needs to know. Elsewhere ours is removed.
{%- from "dcgm/map.jinja" import dcgm with context %}

include: {{ dcgm.node.prometheus | tojson }}
