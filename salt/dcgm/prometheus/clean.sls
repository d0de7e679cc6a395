# Takes all that is ours of Prometheus away, whichever mode it was. Package, data and files of others stay.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.prometheus.own_clean

Remove the scrape configuration for an existing Prometheus:
  dcgm_prometheus_files.scrape_removed:
    - name: {{ dcgm.prometheus.scrape_config }}

Remove the rule files for an existing Prometheus:
  dcgm_prometheus_files.rules:
    - name: {{ dcgm.prometheus.rule_directory }}
    - files: {}
