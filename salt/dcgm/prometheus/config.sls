# Configuration and unit of our Prometheus. promtool checks the former before it replaces the one in use.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set prometheus, path = dcgm.prometheus, dcgm.paths %}

include:
  - dcgm.prometheus.install

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

Write the configuration of Prometheus:
  # Not file.serialize, which has check_cmd only from Salt 3007 on.
  file.managed:
    - name: {{ prometheus.config }}
    - contents: {{ dcgm.prometheus_files.config | tojson }}
    - user: root
    - group: root
    - mode: '0644'
    - check_cmd: {{ dcgm.prometheus_files.promtool }} check config
    - tmp_ext: .yml
    - require:
      - file: Create {{ path.prometheus_config }}
      - dcgm_prometheus: Install Prometheus

Write {{ path.prometheus_unit_file }}:
  file.managed:
    - name: {{ path.prometheus_unit_file }}
    - source: salt://dcgm/prometheus/files/superpod-prometheus.service.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - context: {{ {"prometheus": prometheus, "user": path.prometheus_user} | tojson }}
    - require:
      - file: Write the configuration of Prometheus
      - file: Create {{ prometheus.data }}
