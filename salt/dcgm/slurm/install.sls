# With slurm:scripts local: this node's own copy of prolog and epilog, so that a job reads nothing over the network.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set directory = dcgm.slurm.local_directory %}

Make the directory of the scripts:
  file.directory:
    - name: {{ directory }}
    - makedirs: True
    - mode: '0755'

{%- for kind in ("prolog", "epilog") %}

Write the {{ kind }} of the job map:
  job_map.script:
    - name: {{ directory }}/{{ kind }}-dcgm.sh
    - source: salt://dcgm/slurm/files/job-map.sh
    - require:
      - file: Make the directory of the scripts
{%- endfor %}
