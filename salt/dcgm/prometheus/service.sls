# Prometheus runs, starts at boot, and follows its configuration: a reload for jobs, a restart for its options.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.prometheus.config

Run Prometheus:
  service.running:
    - name: {{ dcgm.prometheus.service }}
    - enable: True
    - watch:
      - file: Start Prometheus with this configuration

Reload Prometheus:
  module.run:
    - service.reload:
      - name: {{ dcgm.prometheus.service }}
    - onchanges:
      - file: Configure Prometheus for dcgm-exporter
    - require:
      - service: Run Prometheus
