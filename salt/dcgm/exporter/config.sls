# Unit, environment and counters of the exporter. A change of any of them restarts it.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter = dcgm.exporter %}
{%- set installed = "Install dcgm-exporter " ~ exporter.release %}

include:
  - dcgm.exporter.install
  - dcgm.exporter.service

Choose the counters of dcgm-exporter:
{%- if exporter.counters %}
  file.managed:
    - source: {{ exporter.counters }}
    - mode: '0644'
    - follow_symlinks: False
{%- else %}
  file.symlink:
    - target: {{ dcgm.paths.exporter_current }}/default-counters.csv
    - force: True
{%- endif %}
    - name: {{ dcgm.paths.exporter_counters }}
    - makedirs: True
    - require:
      - dcgm_release: {{ installed }}

Write the environment of dcgm-exporter:
  file.managed:
    - name: {{ dcgm.paths.exporter_environment }}
    - source: salt://dcgm/exporter/files/exporter.env.jinja
    - template: jinja
    - mode: '0644'
    - makedirs: True
    - context: {{ {"environment": dcgm.node.environment} | tojson }}
    - require:
      - dcgm_release: {{ installed }}

Write the unit of dcgm-exporter:
  file.managed:
    - name: {{ dcgm.paths.unit_file }}
    - source: salt://dcgm/exporter/files/dcgm-exporter.service.jinja
    - template: jinja
    - mode: '0644'
    - context: {{ {"mode": dcgm.node.engine.mode, "exporter": exporter, "paths": dcgm.paths,
                   "boot_wait": exporter.boot_wait if dcgm.watcher.enabled and dcgm.roles.source != "none" else 0} | tojson }}
    - require:
      - dcgm_release: {{ installed }}

extend:
  Run dcgm-exporter where the roles of the node want it:
    dcgm_release:
      - deploying: True
      - watch:
        - dcgm_release: {{ installed }}
        - file: Link dcgm-exporter to its current release
        - file: Choose the counters of dcgm-exporter
        - file: Write the environment of dcgm-exporter
        - file: Write the unit of dcgm-exporter
