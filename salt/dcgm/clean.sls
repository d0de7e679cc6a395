# Takes everything away again from a DGX node, in reverse order.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.slurm.clean
  - dcgm.metrics.clean
  - dcgm.exporter.clean
  - dcgm.go.clean

Tell the watcher that this node is removed:
  bcm_node.removed:
    - order: first

Remove the state of superpod-dcgm-exporter:
  file.absent:
    - name: {{ dcgm.paths.node_state }}
    - order: last
