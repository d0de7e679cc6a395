# The program that the services of the agent run, by Salt's own Python.
{%- from "dcgm/map.jinja" import dcgm with context %}

Install the code of the agent:
  dcgm_path.copied:
    - name: {{ dcgm.paths.node_code }}
    - source: salt://_utils
    - include_pat: 'E@^superpod_dcgm/(__init__[.]py|(base|agent)/[^/]+[.]py)$'
