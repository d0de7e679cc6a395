# Takes everything away again from a DGX node, in reverse order.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.slurm.clean
  - dcgm.agent.clean
  - dcgm.exporter.clean
  - dcgm.go.clean
  - dcgm.users_clean

Tell the watcher that this node is removed:
  bcm_node.removed:
    - order: first

Remove {{ dcgm.paths.node_state }}:
  dcgm_ownership.node_state_removed:
    - name: {{ dcgm.paths.node_state }}
    - order: last
