# With slurm:scripts local: this node's own copy of prolog and epilog, so that a job reads nothing over the network.
{%- from "dcgm/map.jinja" import dcgm with context %}

Create the directory of the local scripts:
  file.directory:
    - name: {{ dcgm.slurm.local_directory }}
    - makedirs: True
    - user: root
    - group: root
    - mode: '0755'

{%- for kind in dcgm.scripts %}

Write the local {{ kind }}:
  job_map.script:
    - name: {{ dcgm.scripts[kind].local }}
    - source: salt://dcgm/slurm/files/job-map.sh
    - require:
      - file: Create the directory of the local scripts
{%- endfor %}
