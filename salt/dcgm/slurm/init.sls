# Prolog and epilog on a node: label the metrics of a GPU with the Slurm jobs that hold it.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.agent
{%- if dcgm.slurm.scripts == "local" %}
  - dcgm.slurm.install
{%- endif %}
  - dcgm.slurm.links
