# For a Grafana that others run: folder, data source and dashboards by its API. One of ours goes.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set grafana, files = dcgm.grafana, dcgm.grafana_files %}
{%- set source = grafana.data_source %}

include:
  - dcgm.grafana.own_clean

Check that {{ grafana.url }} is a Grafana:
  dcgm_grafana.answers:
    - access: {{ files.access | tojson }}

Make the folder for the dashboards:
  dcgm_grafana.folder:
    - name: {{ grafana.folder.uid }}
    - access: {{ files.access | tojson }}
    - title: {{ grafana.folder.title | tojson }}
    - require:
      - dcgm_grafana: Check that {{ grafana.url }} is a Grafana
{%- if source.url %}

Write the data source into Grafana:
  dcgm_grafana.data_source:
    - name: {{ source.uid }}
    - access: {{ files.access | tojson }}
    - settings: {{ files.settings | tojson }}
    - password_file: '{{ source.password_file }}'
    - ca: '{{ source.ca }}'
{%- else %}

Remove the data source of ours:
  dcgm_grafana.no_data_source:
    - access: {{ files.access | tojson }}
{%- endif %}
    - require:
      - dcgm_grafana: Check that {{ grafana.url }} is a Grafana

Write the dashboards into Grafana:
  dcgm_grafana.dashboards:
    - access: {{ files.access | tojson }}
    - folder: {{ grafana.folder.uid }}
    - sources: {{ files.boards | tojson }}
    - data_source: {{ files.asks_for | tojson }}
    - require:
      - dcgm_grafana: Make the folder for the dashboards
