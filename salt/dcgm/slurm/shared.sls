# On the head: the one copy of prolog and epilog that all nodes run from shared storage.
{%- from "dcgm/map.jinja" import dcgm with context %}

{%- for kind, script in dcgm.scripts.items() %}

Create the directory of the shared {{ kind }}:
  dcgm_path.made:
    - name: {{ script.shared_directory }}

Write the shared {{ kind }}:
  job_map.script:
    - name: {{ script.shared }}
    - source: salt://dcgm/slurm/files/job-map.sh
    - require:
      - dcgm_path: Create the directory of the shared {{ kind }}
{%- endfor %}
