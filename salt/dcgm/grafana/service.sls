# Our Grafana runs, starts at boot, and follows its files: it reads provisioning anew, and restarts for grafana.ini.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set path, files = dcgm.paths, dcgm.grafana_files %}

include:
  - dcgm.grafana.config

Start {{ path.grafana_unit }}:
  dcgm_grafana_own.serving:
    - name: {{ path.grafana_unit }}
    - package: {{ dcgm.grafana.package }}
    - texts: {{ files.texts | tojson }}
    - page: {{ files.page | tojson }}
    - timeout: {{ dcgm.grafana.start_timeout }}
    - certificates: {{ files.certificates | tojson }}
    - secrets: {{ files.source_secrets | tojson }}
    - require:
      - dcgm_prometheus: Check that {{ path.grafana_user }} can read what it needs
