# Prolog and epilog on a node: labels the metrics of a GPU with the Slurm jobs that hold it.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.slurm.config
{%- if dcgm.slurm.scripts == "local" %}
  - dcgm.slurm.install
{%- endif %}
  - dcgm.slurm.devices
  - dcgm.slurm.timer
  - dcgm.slurm.links
