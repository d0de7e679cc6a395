# What `state.apply` on a DGX node means: every component that the pillar switches on.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.present
{%- for component in ("exporter", "slurm") if dcgm[component].enabled %}
  - dcgm.{{ component }}
{%- endfor %}

Tell the watcher that this node is deployed:
  bcm_node.deployed:
    - order: first

Write the record of this apply:
  bcm_node.applied:
    - order: last
