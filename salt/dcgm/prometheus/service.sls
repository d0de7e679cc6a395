# Prometheus runs, starts at boot, and follows its configuration: a reload for jobs, a restart for its options.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.prometheus.config

Start Prometheus:
  service.running:
    - name: {{ dcgm.prometheus.service }}
    - enable: True
    - watch:
      - file: Write the options of Prometheus

Reload Prometheus:
  module.run:
    - service.reload:
      - name: {{ dcgm.prometheus.service }}
    - onchanges:
      - file: Write the configuration of Prometheus
    - require:
      - service: Start Prometheus
