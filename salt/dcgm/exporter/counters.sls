# Which metrics the exporter gives: the file of its release, or the site's.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter = dcgm.exporter %}

include:
  - dcgm.directories
  - dcgm.exporter.install

Install the counters of dcgm-exporter:
{%- if exporter.counters %}
  file.managed:
    - source: {{ exporter.counters }}
    - user: root
    - mode: '0644'
    - follow_symlinks: False
{%- else %}
  file.symlink:
    - target: {{ dcgm.paths.exporter_current }}/default-counters.csv
    - force: True
{%- endif %}
    - name: {{ dcgm.paths.exporter_counters }}
    - require:
      - file: Create the directories of this project
      - dcgm_release: Install dcgm-exporter {{ exporter.release }}

Write down the digest of the counters of dcgm-exporter:
  dcgm_ownership.noted:
    - name: {{ dcgm.paths.exporter_counters }}
    - require:
      - file: Install the counters of dcgm-exporter
