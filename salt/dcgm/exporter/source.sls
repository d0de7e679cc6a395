# On the head: offers a checkout dcgm-exporter/ beside the file root to the builder.
{%- from "dcgm/map.jinja" import dcgm with context %}

Offer the local checkout of dcgm-exporter to the builder:
  dcgm_source.published:
    - name: {{ dcgm.node.bundle }}
    - checkout: {{ salt["dcgm_config.project_checkout"]() | tojson }}
    - release: '{{ dcgm.exporter.release }}'
    - commit: {{ dcgm.exporter.facts.commit | tojson }}
