# Removes the link to the watcher's own metrics from where a node_exporter of others reads.
{%- from "dcgm/map.jinja" import dcgm with context %}

Remove the link to the watcher's metrics:
  bcm_watcher.metrics_linked:
    - name: {{ dcgm.paths.head_metrics }}
    - directory: ''
