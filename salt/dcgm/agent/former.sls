# What an apply with another pillar left: links, job map and metrics go from where they were to where they shall be.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set former = salt["job_map.former"](dcgm.node.job_map) %}

include:
  - dcgm.agent.config
{%- for kind in dcgm.scripts if former[kind ~ "_link"] %}

Remove the former {{ kind }} link:
  job_map.unlinked:
    - name: {{ former[kind ~ "_link"] }}
    - target: {{ dcgm.scripts[kind].target }}
    - known: {{ [dcgm.scripts[kind].local, dcgm.scripts[kind].shared] | tojson }}
    - storage: {{ dcgm.shared_storage | tojson }}
    - require_in:
      - file: Write job-map.conf
{%- endfor %}
{%- if former.directory %}

Move the job map from its former directory:
  job_map.moved:
    - name: {{ dcgm.job_map.directory }}
    - former: {{ former.directory }}
    - require:
      - file: Write job-map.conf
      - file: Create the directories of this project
{%- endif %}
{%- if former.textfile %}

Remove the metrics file from its former directory:
  file.absent:
    - name: {{ former.textfile }}/{{ dcgm.paths.textfile }}
    - require:
      - file: Write job-map.conf
{%- endif %}
