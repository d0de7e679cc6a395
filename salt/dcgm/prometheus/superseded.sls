# Once ours runs: takes away what was written for a Prometheus of others before, which would scrape and alert, too.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set ours = "Start " ~ dcgm.paths.prometheus_unit %}

include:
  - dcgm.prometheus.service

Remove the scrape configuration that ours supersedes:
  dcgm_prometheus_files.scrape_removed:
    - name: {{ dcgm.prometheus.scrape_config }}
    - require:
      - dcgm_prometheus: {{ ours }}

Remove the rule files that ours supersede:
  dcgm_prometheus_files.rules:
    - name: {{ dcgm.prometheus.rule_directory }}
    - files: {}
    - require:
      - dcgm_prometheus: {{ ours }}
