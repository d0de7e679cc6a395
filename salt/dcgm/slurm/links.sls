# Links through which slurmd's dispatcher runs prolog and epilog. They come last: what they lead to has to be there.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set local = dcgm.slurm.scripts == "local" %}

include:
  - dcgm.agent.config
{%- if local %}
  - dcgm.slurm.install
{%- endif %}

{%- for kind in ("epilog", "prolog") %}

Link the {{ kind }} where slurmd runs it:
  job_map.linked:
    - name: {{ dcgm.scripts[kind].link }}
    - target: {{ dcgm.scripts[kind].target }}
    - known: {{ [dcgm.scripts[kind].local, dcgm.scripts[kind].shared] | tojson }}
    - storage: {{ dcgm.shared_storage | tojson }}
    - local: {{ local }}
    - coming: {{ local }}
    - require: {{ ([{"file": "Write job-map.conf"}, {"file": "Create the directories of this project"}]
                   + ([{"job_map": "Write the local " ~ kind}] if local else [])
                   + ([{"job_map": "Link the epilog where slurmd runs it"}] if kind == "prolog" else [])) | tojson }}
{%- endfor %}

# Whatever failed before: no job may come upon a link that slurmd cannot follow. Requires nothing, and comes last.
{%- for kind in ("prolog", "epilog") %}

Remove the {{ kind }} link if slurmd cannot run it:
  job_map.alive:
    - name: {{ dcgm.scripts[kind].link }}
    - target: {{ dcgm.scripts[kind].target }}
    - known: {{ [dcgm.scripts[kind].local, dcgm.scripts[kind].shared] | tojson }}
    - coming: {{ local }}
{%- endfor %}
