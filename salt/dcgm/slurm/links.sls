# Links through which slurmd's dispatcher runs prolog and epilog. They come last: what they lead to has to be there.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set slurm = dcgm.slurm %}
{%- set local = slurm.scripts == "local" %}

include:
  - dcgm.slurm.config
{%- if local %}
  - dcgm.slurm.install
{%- endif %}

{%- for kind in ("epilog", "prolog") %}

Run the {{ kind }} of the job map with every job:
  job_map.linked:
    - name: {{ slurm[kind ~ "_link"] }}
    - target: {{ (slurm.local_directory if local else slurm.shared_directory) | replace("{kind}", kind) }}/{{ kind }}-dcgm.sh
    - coming: {{ local }}
    - require:
      - file: Write the settings of prolog and epilog
      - file: Make the directory of the job map
{%- if local %}
      - job_map: Write the {{ kind }} of the job map
{%- endif %}
{%- if kind == "prolog" %}
      - job_map: Run the epilog of the job map with every job
{%- endif %}
{%- endfor %}
