# The timer that removes what a crash left in the map, renews the device table when GPUs changed, and writes the metrics.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.agent.install
  - dcgm.agent.config

{%- for unit in (dcgm.paths.job_map_unit, dcgm.paths.job_map_timer) %}

Write {{ unit }}:
  file.managed:
    - name: /etc/systemd/system/{{ unit }}
    - source: salt://dcgm/agent/files/{{ unit }}.jinja
    - template: jinja
    - mode: '0644'
    - context: {{ dcgm.node.agent | tojson }}
    - require:
      - dcgm_path: Install the code of the agent
      - file: Write job-map.conf
    - watch_in:
      - service: Start the job map timer
{%- endfor %}

# Salt has systemd read a unit again where it restarts that unit, which is the timer here; the next tick runs the other.
Reload systemd after writing {{ dcgm.paths.job_map_unit }}:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
      - file: Write {{ dcgm.paths.job_map_unit }}

Start the job map timer:
  service.running:
    - name: {{ dcgm.paths.job_map_timer }}
    - enable: True
    # While the GPUs are free for maintenance it stays down; dcgm_gpu.resume starts it.
    - unless: test -e {{ dcgm.paths.gpus_freed }}
