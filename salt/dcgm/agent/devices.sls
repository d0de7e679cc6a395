# The device table: what prolog and epilog look GPUs up in. Made now, at every boot, and when the host engine starts.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set unit = dcgm.paths.devices_unit %}

include:
  - dcgm.agent.install
  - dcgm.agent.config

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

Enable {{ unit }}:
  service.enabled:
    - name: {{ unit }}
    - require:
      - file: Write {{ unit }}

# A unit that is enabled already would not be tied to engines that the pillar has gained.
Re-enable {{ unit }}:
  cmd.run:
    - name: systemctl --quiet reenable {{ unit }}
    - onchanges:
      - file: Write {{ unit }}
    - require:
      - service: Enable {{ unit }}

Make the device table:
  dcgm_devices.current:
    - name: {{ dcgm.paths.devices }}
    - positions: {{ dcgm.slurm.positions }}
    - require:
      - file: Write job-map.conf
      - file: Create the directories of this project
