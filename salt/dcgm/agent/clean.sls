# Takes the agent away from a node: units first, then what they read and wrote. Prolog and epilog go before it.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set paths = dcgm.paths %}
{%- set units = [paths.job_map_timer, paths.job_map_unit, paths.devices_unit] %}

include:
  - dcgm.slurm.clean
  - dcgm.agent.textfile_clean

Stop and disable the units of the agent:
  dcgm_service.stopped:
    - names: {{ units | tojson }}

Remove the files of the agent:
  file.absent:
    - names:
{%- for name in units %}
      - /etc/systemd/system/{{ name }}
{%- endfor %}
{%- for name in salt["job_map.places"](dcgm.node.job_map) %}
      - {{ name }}
{%- endfor %}
    - require:
      - job_map: Remove the prolog link
      - job_map: Remove the epilog link
      - dcgm_service: Stop and disable the units of the agent

Reload systemd after removing the units of the agent:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
      - file: Remove the files of the agent
