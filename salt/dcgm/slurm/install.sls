# With slurm:scripts local: this node's own copy of prolog and epilog, so that a job reads nothing over the network.
{%- from "dcgm/map.jinja" import dcgm with context %}

{%- for kind in ("prolog", "epilog") %}

Install the {{ kind }} of the job map:
  file.managed:
    - name: {{ dcgm.slurm.local_directory }}/{{ kind }}-dcgm.sh
    - source: salt://dcgm/slurm/files/job-map.sh
    - mode: '0755'
    - makedirs: True
    - follow_symlinks: False
{%- endfor %}
