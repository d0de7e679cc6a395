# Takes prolog and epilog away from a node: links first, then what they lead to. The shared scripts stay for other nodes.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set former = salt["job_map.former"](dcgm.node.job_map) %}

# Where the pillar wants the links, and where the last apply made them, whatever its pillar was: none may lead to nowhere.
{%- for kind, script in dcgm.scripts.items() %}

Remove the {{ kind }} link:
  job_map.unlinked:
    - names: {{ [script.link, former[kind ~ "_link"]] | select | list | tojson }}
    - target: {{ script.target }}
    - known: {{ [script.local, script.shared] | tojson }}
    - storage: {{ dcgm.shared_storage | tojson }}
    - require_in:
      - job_map: Remove the local scripts
{%- endfor %}

Remove the local scripts:
  job_map.removed:
    - name: {{ dcgm.slurm.local_directory }}
    - own: True
    - storage: {{ dcgm.shared_storage | tojson }}
