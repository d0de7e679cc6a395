# TLS and users of the exporter's /metrics as the pillar has them: its web configuration, which it alone can read.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter, web = dcgm.exporter, dcgm.node.web_config %}

include:
  - dcgm.directories
  - dcgm.exporter.preflight
  - dcgm.exporter.service

Write the web configuration of dcgm-exporter:
  dcgm_web.configured:
    - name: {{ dcgm.paths.exporter_web }}
    - contents: {{ web.text | tojson }}
    - certificate: '{{ exporter.tls.certificate }}'
    - key: '{{ exporter.tls.key }}'
    - user: {{ web.user }}
    - require:
      - file: Create the directories of this project
      - dcgm_preflight: Check that this node can run dcgm-exporter {{ exporter.release }}

Remove the web configuration of dcgm-exporter that nothing reads:
  dcgm_web.removed:
    - name: {{ dcgm.paths.exporter_web }}
    - contents: {{ web.text | tojson }}
    - require:
      - dcgm_service: Start or stop dcgm-exporter as the node's roles say
