# For a Prometheus that others run: one file to include. Their own files are not touched; one of ours goes.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set prometheus, files = dcgm.prometheus, dcgm.prometheus_files %}

include:
  - dcgm.prometheus.own_clean

Check that {{ prometheus.scrape_config }} is ours to write:
  dcgm_prometheus.scrape_possible:
    - name: {{ prometheus.scrape_config }}

Write the scrape configuration for the existing Prometheus:
  file.managed:
    - name: {{ prometheus.scrape_config }}
    - contents: {{ files.scrape_config | tojson }}
    - makedirs: True
    - dir_mode: '0755'
    - user: root
    - group: root
    - mode: '0644'
{%- if files.promtool %}
    - check_cmd: {{ files.promtool }} check config
    - tmp_ext: .yml
{%- endif %}
    - require:
      - dcgm_prometheus: Check that {{ prometheus.scrape_config }} is ours to write

Add {{ prometheus.scrape_config }} to scrape_config_files of the existing Prometheus and reload it:
  dcgm_prometheus.included:
    - path: {{ prometheus.scrape_config }}
    - directory: {{ dcgm.targets.directory }}
    - port: {{ prometheus.port }}
    - require:
      - file: Write the scrape configuration for the existing Prometheus
