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
    - user: root
    - group: root
    - mode: '0644'
    - context: {{ dcgm.node.agent | tojson }}
    - require:
      - dcgm_path: Install the code of the agent
      - file: Write job-map.conf
    - watch_in:
      - dcgm_unit: Start the job map timer
{%- endfor %}

Start the job map timer:
  dcgm_unit.running:
    - name: {{ dcgm.paths.job_map_timer }}
    - runs: {{ dcgm.paths.job_map_unit }}
    - seconds: 0
    - watch:
      - dcgm_path: Install the code of the agent
    - require:
      - file: Create the directories of this project
    # While the GPUs are free for maintenance it stays down; dcgm_gpu.resume starts it.
    - unless: test -e {{ dcgm.paths.gpus_freed }}

Enable {{ dcgm.paths.job_map_unit }}:
  service.enabled:
    - name: {{ dcgm.paths.job_map_unit }}
    - require:
      - file: Write {{ dcgm.paths.job_map_unit }}
