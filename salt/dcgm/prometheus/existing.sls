# For a Prometheus that others run: one file to include. Their own files are not touched; one of ours goes.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set prometheus, files = dcgm.prometheus, dcgm.prometheus_files %}

include:
  - dcgm.prometheus.own_clean

Check that {{ prometheus.scrape_config }} is ours to write:
  dcgm_prometheus_files.scrape_possible:
    - name: {{ prometheus.scrape_config }}

Write the scrape configuration for the existing Prometheus:
  dcgm_prometheus_files.scrape_written:
    - name: {{ prometheus.scrape_config }}
    - contents: {{ files.scrape_config | tojson }}
    - page: {{ files.page | tojson }}
    - version_given: '{{ prometheus.version }}'
    - promtool: '{{ files.promtool }}'
    - require:
      - dcgm_prometheus_files: Check that {{ prometheus.scrape_config }} is ours to write

Install the rule files for the existing Prometheus:
  dcgm_prometheus_files.rules:
    - name: {{ prometheus.rule_directory }}
    - files: {{ files.rules | tojson }}
    - promtool: '{{ files.promtool }}'

Check that the existing Prometheus has our targets and rules:
  dcgm_prometheus.told:
    - page: {{ files.page | tojson }}
    - scrape_config: {{ prometheus.scrape_config }}
    - targets: {{ dcgm.targets.directory }}
    - rules: {{ files.rule_paths | tojson }}
    - secrets: {{ files.secrets | tojson }}
    - require:
      - dcgm_prometheus_files: Write the scrape configuration for the existing Prometheus
      - dcgm_prometheus_files: Install the rule files for the existing Prometheus
