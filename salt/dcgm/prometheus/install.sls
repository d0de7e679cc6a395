# Prometheus as the distribution packages it.
{%- from "dcgm/map.jinja" import dcgm with context %}

Install Prometheus:
  pkg.installed:
    - pkgs: {{ dcgm.prometheus.packages | tojson }}
