# Takes prolog and epilog away from a node: links first, then what they lead to. The shared scripts stay for the other nodes.
{%- from "dcgm/map.jinja" import dcgm with context %}

{%- for kind in ("prolog", "epilog") %}

Run the {{ kind }} of the job map no longer:
  job_map.unlinked:
    - name: {{ dcgm.slurm[kind ~ "_link"] }}
    - target: {{ dcgm.slurm.shared_directory | replace("{kind}", kind) }}/{{ kind }}-dcgm.sh
{%- endfor %}

Remove everything of the job map:
  file.absent:
    - names:
      - {{ dcgm.slurm.local_directory }}
      - {{ dcgm.paths.job_map_config }}
      - {{ dcgm.paths.tmpfiles_config }}
      - {{ dcgm.job_map.directory }}
    - require:
      - job_map: Run the prolog of the job map no longer
      - job_map: Run the epilog of the job map no longer
