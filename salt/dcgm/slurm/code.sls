# The program that the services of the job map run, by Salt's own Python.
{%- from "dcgm/map.jinja" import dcgm with context %}

Install the code of the job map's services:
  file.recurse:
    - name: {{ dcgm.paths.node_code }}
    - source: salt://_utils
    - include_pat: 'E@^superpod_(devices|files|gres|job_map|node|nvidia|paths|process|reconcile|slurm|table|textfile)\.py$'
    - clean: True
    - dir_mode: '0755'
    - file_mode: '0644'
