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

Create the user {{ path.prometheus_user }}:
  dcgm_user.present:
    - users: {{ dcgm.node.prometheus_users | tojson }}
    - require:
      - dcgm_prometheus: Install Prometheus
