# This project's own metrics of a node: served here, or by a node_exporter that others run.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
{%- if dcgm.metrics.textfile_directory or not dcgm.metrics.enabled %}
  - dcgm.metrics.clean
{%- else %}
  - dcgm.metrics.service
{%- endif %}
