# Unit, environment and counters of the exporter. A change of any of them restarts it.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter = dcgm.exporter %}
{%- set engine = dcgm.node.engine %}

include:
  - dcgm.exporter.install
  - dcgm.exporter.service

Create the configuration directory of dcgm-exporter:
  file.directory:
    - name: {{ dcgm.paths.exporter_config }}
    - mode: '0755'
    - require:
      - dcgm_release: Install dcgm-exporter {{ exporter.release }}

Choose the counters of dcgm-exporter:
{%- if exporter.counters %}
  file.managed:
    - name: {{ dcgm.paths.exporter_counters }}
    - source: {{ exporter.counters }}
    - mode: '0644'
    - follow_symlinks: False
{%- else %}
  file.symlink:
    - name: {{ dcgm.paths.exporter_counters }}
    - target: {{ dcgm.paths.exporter_current }}/default-counters.csv
    - force: True
{%- endif %}
    - require:
      - file: Create the configuration directory of dcgm-exporter

Write the environment of dcgm-exporter:
  file.managed:
    - name: {{ dcgm.paths.exporter_environment }}
    - source: salt://dcgm/exporter/files/exporter.env.jinja
    - template: jinja
    - mode: '0644'
    - context: {{ {"environment": dcgm.node.environment} | tojson }}
    - require:
      - file: Create the configuration directory of dcgm-exporter

Write the unit of dcgm-exporter:
  file.managed:
    - name: {{ dcgm.paths.unit_file }}
    - source: salt://dcgm/exporter/files/dcgm-exporter.service.jinja
    - template: jinja
    - mode: '0644'
    - context: {{ {"engine": engine, "user": exporter.user, "units": exporter.engine_units, "paths": dcgm.paths} | tojson }}
    - require:
      - dcgm_release: Install dcgm-exporter {{ exporter.release }}

extend:
  Run dcgm-exporter where the roles of the node want it:
    dcgm_release:
      - deploying: True
      - watch:
        - dcgm_release: Install dcgm-exporter {{ exporter.release }}
        - file: Link dcgm-exporter to its current release
        - file: Choose the counters of dcgm-exporter
        - file: Write the environment of dcgm-exporter
        - file: Write the unit of dcgm-exporter
