# By hand: removes ids of jobs that are gone from the map now. With test=True it only says which these are.
include:
  - dcgm.agent.config

Remove finished jobs from the job map:
  job_map.reconciled:
    - name: job map
    - require:
      - file: Write job-map.conf
