# The directory for this node's state. It comes first, so that `dcgm` is never an empty state. On a head it is the
# master's user's (dcgm.watcher.config).
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- if dcgm.node.left %}

include: {{ dcgm.node.left | tojson }}
{%- endif %}

Create {{ dcgm.paths.node_state }}:
  file.directory:
    - name: {{ dcgm.paths.node_state }}
    - mode: '0755'
