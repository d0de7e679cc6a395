# Configuration that prolog, epilog and the agent read on the node.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.directories
  - dcgm.agent.former
  - dcgm.agent.map

Write job-map.conf:
  file.managed:
    - name: {{ dcgm.paths.job_map_config }}
    # A template, since it renders after the exporter's states and so knows which release they left running.
    - source: salt://dcgm/agent/files/job-map.conf.jinja
    - template: jinja
    - context: {{ {"job_map_conf": dcgm.node.job_map, "release": dcgm.exporter.release, "label": dcgm.job_map.label} | tojson }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
      - file: Create the directories of this project
