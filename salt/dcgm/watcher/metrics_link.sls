# Links the watcher's own metrics to where a node_exporter of others reads them, or removes the link that was made before.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.watcher.config

Link the watcher's metrics:
  bcm_watcher.metrics_linked:
    - name: {{ dcgm.paths.head_metrics }}
    - directory: {{ (dcgm.head_metrics.textfile_directory if dcgm.metrics.enabled else "") | tojson }}
    - require:
      - file: Write {{ dcgm.paths.watcher_settings }}
