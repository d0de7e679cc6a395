# On the head, after `dcgm.clean` on all nodes: takes the shared scripts away. A link that still leads to them would fail jobs.
{%- from "dcgm/map.jinja" import dcgm with context %}

Remove the shared prolog and epilog of the job map:
  file.absent:
    - names:
      - {{ dcgm.slurm.shared_directory }}/prolog-dcgm.sh
      - {{ dcgm.slurm.shared_directory }}/epilog-dcgm.sh
