# Takes the agent away from a node: units first, then what they read and wrote. Prolog and epilog go before it.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.slurm.clean
  - dcgm.agent.textfile_clean

Stop and disable the units of the agent:
  dcgm_service.stopped:
    - names: {{ dcgm.node.agent_units.names | tojson }}

Remove the files of the agent:
  file.absent:
    - names: {{ (dcgm.node.agent_units.files + salt["job_map.places"](dcgm.node.job_map)) | tojson }}
    - require:
      - job_map: Remove the prolog link
      - job_map: Remove the epilog link
      - dcgm_service: Stop and disable the units of the agent

Reload systemd after removing the units of the agent:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
      - file: Remove the files of the agent
