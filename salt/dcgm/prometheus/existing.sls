# For a Prometheus that others run: one file to include. Their own files are not touched.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set path = dcgm.prometheus.scrape_config %}

Write the scrape configuration for the existing Prometheus:
  file.serialize:
    - name: {{ path }}
    - dataset: {{ {"scrape_configs": dcgm.scrape_configs} | tojson }}
    - serializer: yaml
    - makedirs: True
    - dir_mode: '0755'
    - user: root
    - group: root
    - mode: '0644'

Show what to add to the existing Prometheus:
  test.show_notification:
    - text: >-
        Add `scrape_config_files: [{{ path }}]` to its configuration (Prometheus 2.43 or newer; for older ones copy
        the job into scrape_configs), let it read {{ dcgm.targets.directory }}, and reload it.
