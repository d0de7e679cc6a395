# NVIDIA's dcgm-exporter as a native service beside BCM's own DCGM.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
{%- if dcgm.node.builds_here %}
  - dcgm.exporter.build
{%- endif %}
  - dcgm.exporter.install
  - dcgm.exporter.config
  - dcgm.exporter.service
