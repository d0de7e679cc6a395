# The program that the services of the agent run, by Salt's own Python.
{%- from "dcgm/map.jinja" import dcgm with context %}

Install the code of the agent:
  dcgm_path.parts_copied:
    - name: {{ dcgm.paths.node_code }}
    - parts: [base, agent]
