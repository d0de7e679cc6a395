# Configuration of our Prometheus. promtool checks it before it replaces the one in use.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- from "dcgm/prometheus/scrape.jinja" import scrapes with context %}
{%- set prometheus = dcgm.prometheus %}

include:
  - dcgm.prometheus.install

Configure Prometheus for dcgm-exporter:
  # Not file.serialize, which has check_cmd only from Salt 3007 on.
  file.managed:
    - name: {{ prometheus.config }}
    - contents: {{ ({"scrape_configs": scrapes + prometheus.scrape_configs} | yaml(False)) | tojson }}
    - mode: '0644'
    - check_cmd: promtool check config
    - tmp_ext: .yml
    - require:
      - pkg: Install Prometheus

Start Prometheus with this configuration:
  file.managed:
    - name: /etc/systemd/system/{{ prometheus.service }}.service.d/superpod-dcgm.conf
    - source: salt://dcgm/prometheus/files/service.conf.jinja
    - template: jinja
    - makedirs: True
    - mode: '0644'
    - context: {{ {"prometheus": prometheus} | tojson }}
    - require:
      - file: Configure Prometheus for dcgm-exporter
