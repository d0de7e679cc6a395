# Takes prolog and epilog away from a node: links first, then what they lead to. The shared scripts stay for other nodes.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set former = salt["job_map.former"](dcgm.node.job_map) %}

# Where the pillar wants the links, and where the last apply made them, whatever its pillar was: none may lead to nowhere.
{%- for kind, script in dcgm.scripts.items() %}

Remove the {{ kind }} link:
  job_map.unlinked:
    - names: {{ [script.link, former[kind ~ "_link"]] | select | list | tojson }}
    - target: {{ script.target }}
    - require_in:
      - file: Remove the local scripts
{%- endfor %}

Remove the local scripts:
  file.absent:
    - name: {{ dcgm.slurm.local_directory }}
