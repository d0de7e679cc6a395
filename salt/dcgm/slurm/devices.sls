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

# Not service.enabled: a unit that is enabled already would not be tied to engines that the pillar has gained.
Make the device table whenever a host engine starts:
  cmd.run:
    - name: systemctl --quiet reenable {{ unit }}
    - unless: systemctl --quiet is-enabled {{ unit }}
    - require:
      - file: Write the unit of the device table

Tie the device table to the host engines anew:
  cmd.run:
    - name: systemctl --quiet reenable {{ unit }}
    - onchanges:
      - file: Write the unit of the device table
    - require:
      - cmd: Make the device table whenever a host engine starts

Make the device table:
  dcgm_devices.current:
    - name: {{ dcgm.paths.devices }}
    - require:
      - file: Write the settings of prolog and epilog
      - file: Make the directory of the job map
