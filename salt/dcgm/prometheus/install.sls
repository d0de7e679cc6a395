# The program as the distribution packages it, and a user of our own. First of all: is the place free?
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set prometheus, path = dcgm.prometheus, dcgm.paths %}
{%- set unit = prometheus.service ~ ".service" %}

Remove what an earlier version added to {{ unit }}:
  dcgm_prometheus.left:
    - name: {{ unit }}

Check that {{ path.prometheus_unit }} takes nothing of others:
  dcgm_prometheus.possible:
    - port: {{ prometheus.port }}
    - data: {{ prometheus.data }}
    - config: {{ prometheus.config }}
    - program: {{ prometheus.program }}
    - packages: {{ prometheus.packages | tojson }}
    - unit: {{ unit }}
    - order: first
    - failhard: True
    - require:
      - dcgm_prometheus: Remove what an earlier version added to {{ unit }}

Install Prometheus:
  dcgm_prometheus.packaged:
    - name: {{ prometheus.program }}
    - packages: {{ prometheus.packages | tojson }}
    - unit: {{ unit }}
    - require:
      - dcgm_prometheus: Check that {{ path.prometheus_unit }} takes nothing of others

Write {{ path.prometheus_sysusers }}:
  file.managed:
    - name: {{ path.prometheus_sysusers }}
    - source: salt://dcgm/prometheus/files/sysusers.conf.jinja
    - template: jinja
    - makedirs: True
    - dir_mode: '0755'
    - mode: '0644'
    - context: {{ {"prometheus": prometheus, "user": path.prometheus_user} | tojson }}
    - require:
      - dcgm_prometheus: Install Prometheus

Create the user {{ path.prometheus_user }}:
  cmd.run:
    - name: systemd-sysusers {{ path.prometheus_sysusers }}
    - unless: getent passwd {{ path.prometheus_user }}
    - require:
      - file: Write {{ path.prometheus_sysusers }}
