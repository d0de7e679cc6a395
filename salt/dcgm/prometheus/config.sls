# Directories and unit of our Prometheus, around the files that it reads.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set prometheus, path, files = dcgm.prometheus, dcgm.paths, dcgm.prometheus_files %}

include:
  - dcgm.prometheus.install
  - dcgm.prometheus.written

Create {{ path.prometheus_config }}:
  file.directory:
    - name: {{ path.prometheus_config }}
    - mode: '0755'
    - require:
      - dcgm_prometheus: Check that {{ path.prometheus_unit }} takes nothing of others

Create the directory above {{ prometheus.data }}:
  dcgm_path.made:
    - name: {{ prometheus.data.rpartition("/")[0] }}
    - require:
      - dcgm_prometheus: Check that {{ path.prometheus_unit }} takes nothing of others

Create {{ prometheus.data }}:
  file.directory:
    - name: {{ prometheus.data }}
    - user: {{ path.prometheus_user }}
    - group: {{ path.prometheus_user }}
    - mode: '0750'
    - require:
      - dcgm_user: Create the user {{ path.prometheus_user }}
      - dcgm_path: Create the directory above {{ prometheus.data }}

Write {{ path.prometheus_unit_file }}:
  file.managed:
    - name: {{ path.prometheus_unit_file }}
    - source: salt://dcgm/prometheus/files/superpod-prometheus.service.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - context: {{ {"prometheus": prometheus, "user": path.prometheus_user, "web": files.web and path.prometheus_web} | tojson }}
    - require:
      - dcgm_prometheus_files: Write the web configuration of Prometheus
      - file: Create {{ prometheus.data }}
