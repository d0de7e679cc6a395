# Engine and reactor in the master's configuration. The master restarts a moment later, so that this apply is still answered.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set path, more = dcgm.paths, dcgm.watcher.master %}
{%- set reactor = {"superpod/bcm/roles/changed": ["salt://dcgm/reactor/roles_changed.sls"]} %}
{%- set master = {"module_dirs": [path.watcher_code] + more.get("module_dirs", []),
                  "engines": [{"bcm_watcher": {}}] + more.get("engines", []),
                  "reactor": [reactor] + more.get("reactor", [])} %}

include:
  - dcgm.watcher.install
  - dcgm.watcher.config

Check that no other file of the master's configuration is in the way:
  bcm_watcher.configuration_counts:
    - name: {{ path.watcher_master_config }}

Run the watcher in the Salt master:
  file.serialize:
    - name: {{ path.watcher_master_config }}
    - dataset: {{ master | tojson }}
    - serializer: yaml
    - mode: '0644'
    - require:
      - bcm_watcher: Check that no other file of the master's configuration is in the way
      - file: Write the watcher's settings
      - file: Install _engines for the master

Restart the Salt master in a moment:
  cmd.run:
    - name: systemd-run --collect --unit={{ path.watcher_restart }} --on-active=2 --timer-property=AccuracySec=100ms systemctl restart salt-master.service
    - unless: systemctl is-active --quiet {{ path.watcher_restart }}.timer
    - order: last
    - onchanges:
      - file: Run the watcher in the Salt master
      - file: Install _engines for the master
      - file: Install _runners for the master
      - file: Install _utils for the master
