# Our Prometheus runs, starts at boot, and follows its files: a reload for jobs, a restart for its options.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set prometheus, path = dcgm.prometheus, dcgm.paths %}

include:
  - dcgm.prometheus.config

Check that {{ path.prometheus_user }} can read what it needs:
  dcgm_prometheus.readable:
    - user: {{ path.prometheus_user }}
    - places: {{ dcgm.prometheus_files.places | tojson }}
    - secrets: {{ dcgm.prometheus_files.secrets | tojson }}
    - require:
      - file: Write {{ path.prometheus_unit_file }}

Start {{ path.prometheus_unit }}:
  dcgm_prometheus.serving:
    - name: {{ path.prometheus_unit }}
    - config: {{ prometheus.config }}
    - page: {{ dcgm.prometheus_files.page | tojson }}
    - promtool: {{ dcgm.prometheus_files.promtool }}
    - data: {{ prometheus.data }}
    - timeout: {{ prometheus.start_timeout }}
    - require:
      - dcgm_prometheus: Check that {{ path.prometheus_user }} can read what it needs
