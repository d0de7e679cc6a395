# On the Slurm controller: fails, in sentences, when slurm.conf does not run prolog and epilog. It never edits slurm.conf.
{%- from "dcgm/map.jinja" import dcgm with context %}

Check that slurmd runs prolog and epilog with every job:
  job_map.wired:
    - name: {{ dcgm.slurm.controller or "this minion" }}
    - prolog: {{ dcgm.scripts.prolog.link }}
    - epilog: {{ dcgm.scripts.epilog.link }}
    - gres: {{ dcgm.slurm.gres | tojson }}
