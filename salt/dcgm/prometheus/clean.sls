# Takes our configuration of Prometheus away, in reverse. The package and its data stay.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set prometheus = dcgm.prometheus %}
{%- set drop_in = "/etc/systemd/system/" ~ prometheus.service ~ ".service.d/superpod-dcgm.conf" %}

{%- if prometheus.mode == "own" %}

Stop and disable Prometheus:
  service.dead:
    - name: {{ prometheus.service }}
    - enable: False
    - onlyif: test -e {{ drop_in }}
    - require_in:
      - file: Remove the configuration of Prometheus
{%- endif %}

Remove the configuration of Prometheus:
  file.absent:
    - names: {{ ([drop_in, prometheus.config] if prometheus.mode == "own" else [prometheus.scrape_config]) | tojson }}
