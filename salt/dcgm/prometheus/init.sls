# Prometheus on the monitoring host: our own, or what an existing one needs to know.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
{%- if dcgm.prometheus.mode == "own" %}
  - dcgm.prometheus.install
  - dcgm.prometheus.config
  - dcgm.prometheus.service
{%- else %}
  - dcgm.prometheus.existing
{%- endif %}
