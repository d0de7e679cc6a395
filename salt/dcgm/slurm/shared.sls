# On the head, with slurm:scripts shared: the one copy of prolog and epilog that all nodes run from shared storage.
{%- from "dcgm/map.jinja" import dcgm with context %}

{%- for kind, script in dcgm.scripts.items() %}

Write the shared {{ kind }}:
  job_map.script:
    - name: {{ script.shared }}
    - source: salt://dcgm/slurm/files/job-map.sh
    - makedirs: True
    - guarded: True
{%- endfor %}
