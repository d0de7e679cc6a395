# What our Prometheus reads: rules, configuration, web configuration. promtool checks each before it takes its place.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set prometheus, path, files = dcgm.prometheus, dcgm.paths, dcgm.prometheus_files %}

include:
  - dcgm.prometheus.install

Install the rule files of Prometheus:
  dcgm_prometheus_files.rules:
    - name: {{ path.prometheus_rules }}
    - files: {{ files.rules | tojson }}
    - promtool: {{ files.promtool }}
    - require:
      - dcgm_prometheus: Install Prometheus

Write the configuration of Prometheus:
  dcgm_prometheus_files.configured:
    - name: {{ prometheus.config }}
    - contents: {{ files.config | tojson }}
    - program: {{ prometheus.program }}
    - promtool: {{ files.promtool }}
    - group: {{ path.prometheus_user }}
    - require:
      - dcgm_prometheus_files: Install the rule files of Prometheus
      - dcgm_user: Create the user {{ path.prometheus_user }}

Write the web configuration of Prometheus:
  dcgm_prometheus_files.web_configured:
    - name: {{ path.prometheus_web }}
    - contents: {{ files.web | tojson }}
    - promtool: {{ files.promtool }}
    - group: {{ path.prometheus_user }}
    - require:
      - dcgm_prometheus_files: Write the configuration of Prometheus
