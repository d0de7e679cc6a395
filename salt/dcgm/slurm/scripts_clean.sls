# On the head, after `dcgm.clean` on all nodes: takes the shared scripts away. A link that still leads to them would fail jobs.
{%- from "dcgm/map.jinja" import dcgm with context %}

{%- for kind in ("prolog", "epilog") %}

Remove the shared {{ kind }} of the job map:
  file.absent:
    - name: {{ dcgm.slurm.shared_directory | replace("{kind}", kind) }}/{{ kind }}-dcgm.sh
{%- endfor %}
