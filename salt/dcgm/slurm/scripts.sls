# On the head: the one copy of prolog and epilog that all nodes run from shared storage.
{%- from "dcgm/map.jinja" import dcgm with context %}

{%- for kind in ("prolog", "epilog") %}

Write the shared {{ kind }} of the job map:
  file.managed:
    - name: {{ dcgm.slurm.shared_directory }}/{{ kind }}-dcgm.sh
    - source: salt://dcgm/slurm/files/job-map.sh
    - mode: '0755'
    - makedirs: True
    - follow_symlinks: False
{%- endfor %}
