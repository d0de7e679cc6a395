# The device table: what prolog and epilog look GPUs up in. Made now, at every boot, and when the host engine starts.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set unit = dcgm.paths.devices_unit %}

include:
  - dcgm.slurm.config
  - dcgm.slurm.code

Write the unit of the device table:
  file.managed:
    - name: /etc/systemd/system/{{ unit }}
    - source: salt://dcgm/slurm/files/dcgm-devices.service.jinja
    - template: jinja
    - mode: '0644'
    - context: {{ {"python": dcgm.node.python, "code": dcgm.paths.node_code, "runtime": dcgm.paths.node_runtime,
                   "engine_units": dcgm.exporter.engine_units} | tojson }}
    - require:
      - file: Install the code of the job map's services

Make the device table whenever a host engine starts:
  service.enabled:
    - name: {{ unit }}
    - require:
      - file: Write the unit of the device table

# A unit that is enabled already would not be tied to engines that the pillar has gained.
Tie the device table to the host engines anew:
  cmd.run:
    - name: systemctl --quiet reenable {{ unit }}
    - onchanges:
      - file: Write the unit of the device table
    - require:
      - service: Make the device table whenever a host engine starts

Make the device table:
  dcgm_devices.current:
    - name: {{ dcgm.paths.devices }}
    - positions: {{ dcgm.slurm.positions }}
    - require:
      - file: Write the settings of prolog and epilog
      - file: Make the directory of the job map
