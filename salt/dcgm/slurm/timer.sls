# Every now and then: removes what a crash left in the map, renews the device table if the GPUs changed, writes the metrics.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.slurm.config
  - dcgm.slurm.code

{%- for unit in (dcgm.paths.job_map_unit, dcgm.paths.job_map_timer) %}

Write {{ unit }}:
  file.managed:
    - name: /etc/systemd/system/{{ unit }}
    - source: salt://dcgm/slurm/files/{{ unit }}.jinja
    - template: jinja
    - mode: '0644'
    - context: {{ {"python": dcgm.node.python, "code": dcgm.paths.node_code, "runtime": dcgm.paths.node_runtime,
                   "directory": dcgm.job_map.directory, "textfile": dcgm.node.job_map.textfile,
                   "interval": dcgm.metrics.interval} | tojson }}
    - require:
      - file: Install the code of the job map's services
      - file: Write the settings of prolog and epilog
    - watch_in:
      - service: Look after the job map
{%- endfor %}

Look after the job map:
  service.running:
    - name: {{ dcgm.paths.job_map_timer }}
    - enable: True
