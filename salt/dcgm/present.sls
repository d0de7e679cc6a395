# The directory for this node's state. It comes first, so that `dcgm` is never an empty state.
{%- from "dcgm/map.jinja" import dcgm with context %}

Keep a directory for the state of superpod-dcgm-exporter:
  file.directory:
    - name: {{ dcgm.paths.node_state }}
    - mode: '0755'
