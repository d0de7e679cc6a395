# The package of Grafana, by repository or by file. First of all: is the place free?
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set grafana, path = dcgm.grafana, dcgm.paths %}

Check that {{ path.grafana_unit }} takes nothing of others:
  dcgm_grafana_own.possible:
    - port: {{ grafana.port }}
    - package: {{ grafana.package }}

Add the package repository of Grafana:
  dcgm_grafana_package.repository:
    - url: '{{ grafana.repository.url }}'
    - key: '{{ grafana.repository.key }}'
    - require:
      - dcgm_grafana_own: Check that {{ path.grafana_unit }} takes nothing of others

Install Grafana:
  dcgm_grafana_package.installed:
    - name: {{ grafana.package }}
    - file: '{{ grafana.package_file }}'
    - sha256: '{{ grafana.package_sha256 }}'
    - require:
      - dcgm_grafana_package: Add the package repository of Grafana
