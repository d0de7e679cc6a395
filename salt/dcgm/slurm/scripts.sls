# On the head: the one copy of prolog and epilog that all nodes run from shared storage.
{%- from "dcgm/map.jinja" import dcgm with context %}

{%- for kind in ("prolog", "epilog") %}
{%- set directory = dcgm.slurm.shared_directory | replace("{kind}", kind) %}

Make the directory of the shared {{ kind }}:
  file.directory:
    - name: {{ directory }}
    - makedirs: True

Write the shared {{ kind }} of the job map:
  job_map.script:
    - name: {{ directory }}/{{ kind }}-dcgm.sh
    - source: salt://dcgm/slurm/files/job-map.sh
    - require:
      - file: Make the directory of the shared {{ kind }}
{%- endfor %}
