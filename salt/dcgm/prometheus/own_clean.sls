# Takes our own Prometheus away and gives back what it took. Its data stays, and so does the user who owns it.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set prometheus, path = dcgm.prometheus, dcgm.paths %}
{%- set unit = prometheus.service ~ ".service" %}

Remove {{ path.prometheus_unit }}:
  dcgm_prometheus.removed:
    - name: {{ path.prometheus_unit }}
    - config: {{ prometheus.config }}
    - data: {{ prometheus.data }}

Remove what an earlier version added to {{ unit }}:
  dcgm_prometheus.left:
    - name: {{ unit }}
