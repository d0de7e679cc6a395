# By hand: removes ids of jobs that are gone from the map now. With test=True it only says which these are.
include:
  - dcgm.slurm.config

Remove jobs that are gone from the job map:
  job_map.reconciled:
    - name: job map
    - require:
      - file: Write the settings of prolog and epilog
