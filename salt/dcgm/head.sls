# What `state.apply` on a head node means: the watcher, and what the nodes take from shared storage.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.present
{%- if dcgm.exporter.enabled and dcgm.exporter.method == "build" %}
  - dcgm.exporter.source
{%- endif %}
{%- if dcgm.slurm.enabled and dcgm.slurm.scripts == "shared" %}
  - dcgm.slurm.shared
{%- endif %}
{%- if dcgm.watcher.enabled %}
  - dcgm.watcher
{%- endif %}
