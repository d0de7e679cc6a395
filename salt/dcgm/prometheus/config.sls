# Configuration of our Prometheus. promtool checks it before it replaces the one in use.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set prometheus = dcgm.prometheus %}

include:
  - dcgm.prometheus.install

Write the configuration of Prometheus:
  # Not file.serialize, which has check_cmd only from Salt 3007 on.
  file.managed:
    - name: {{ prometheus.config }}
    - contents: {{ ({"scrape_configs": dcgm.scrape_configs + prometheus.scrape_configs} | yaml(False)) | tojson }}
    - user: root
    - group: root
    - mode: '0644'
    - check_cmd: promtool check config
    - tmp_ext: .yml
    - require:
      - pkg: Install Prometheus

Write the options of Prometheus:
  file.managed:
    - name: /etc/systemd/system/{{ prometheus.service }}.service.d/superpod-dcgm.conf
    - source: salt://dcgm/prometheus/files/service.conf.jinja
    - template: jinja
    - makedirs: True
    - dir_mode: '0755'
    - user: root
    - group: root
    - mode: '0644'
    - context: {{ {"prometheus": prometheus} | tojson }}
    - require:
      - file: Write the configuration of Prometheus
