# Which metrics the exporter gives: those of its release, and more, or the site's; checked before they are installed.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter = dcgm.exporter %}

include:
  - dcgm.directories
  - dcgm.exporter.preflight

Install the counters of dcgm-exporter:
  dcgm_counters.installed:
    - name: {{ dcgm.paths.exporter_counters }}
    - release: '{{ exporter.release }}'
    - counters: {{ exporter.counters | tojson }}
    - rows: {{ exporter.facts.rows | tojson }}
    - renamed: {{ exporter.facts.renamed | tojson }}
    - require:
      - file: Create the directories of this project
      - dcgm_preflight: Check that this node can run dcgm-exporter {{ exporter.release }}

Write down the digest of the counters of dcgm-exporter:
  dcgm_ownership.noted:
    - name: {{ dcgm.paths.exporter_counters }}
    - require:
      - dcgm_counters: Install the counters of dcgm-exporter
