# What our Grafana reads: secrets that are made once, grafana.ini, data source, and the folder of the dashboards.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set grafana, files = dcgm.grafana, dcgm.grafana_files %}

include:
  - dcgm.grafana.install

Make the secrets of Grafana:
  dcgm_grafana_own.secrets:
    - require:
      - dcgm_grafana_package: Install Grafana

Write the dashboards:
  dcgm_grafana_own.boards:
    - sources: {{ files.boards | tojson }}
    - title: {{ grafana.folder.title | tojson }}
    - data_source: {{ files.asks_for | tojson }}
    - require:
      - dcgm_grafana_own: Make the secrets of Grafana
{%- for file, text in files.texts.items() %}

Write {{ file }}:
  dcgm_grafana_own.configured:
    - name: {{ file }}
    - contents: {{ text | tojson }}
    - require:
      - dcgm_grafana_own: Write the dashboards
    - require_in:
      - dcgm_prometheus: Check that {{ dcgm.paths.grafana_user }} can read what it needs
{%- endfor %}

Check that {{ dcgm.paths.grafana_user }} can read what it needs:
  dcgm_prometheus.readable:
    - user: {{ dcgm.paths.grafana_user }}
    - places: {{ files.places | tojson }}
    - secrets: {{ files.secrets | tojson }}
