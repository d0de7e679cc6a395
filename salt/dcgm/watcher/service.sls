# Engine and reactor in the master's configuration. The master restarts a moment later, so that this apply is still answered.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set path = dcgm.paths %}

include:
  - dcgm.watcher.install
  - dcgm.watcher.config

Check that no other file of the master's configuration conflicts:
  bcm_watcher.configuration_counts:
    - name: {{ path.watcher_master_config }}

Add the watcher to the master's configuration:
  file.serialize:
    - name: {{ path.watcher_master_config }}
    - dataset: {{ dcgm.master | tojson }}
    - serializer: yaml
    - user: root
    - group: root
    - mode: '0644'
    - require:
      - bcm_watcher: Check that no other file of the master's configuration conflicts
      - file: Write {{ path.watcher_settings }}
      - dcgm_path: Install the code of the watcher

Remove what killed writers left on the head:
  dcgm_path.swept:
    - directories: {{ [path.head_state, path.head_config, dcgm.targets.directory,
                       dcgm.targets.directory ~ "/superpod-dcgm", dcgm.targets.directory ~ "/superpod-dcgm-head",
                       salt["file.dirname"](path.head_metrics)] | tojson }}

Restart the Salt master shortly:
  cmd.run:
    - name: systemd-run --collect --unit={{ path.watcher_restart }} --on-active=2 --timer-property=AccuracySec=100ms systemctl restart salt-master.service
    - unless: systemctl is-active --quiet {{ path.watcher_restart }}.timer
    - order: last
    - onchanges:
      - file: Add the watcher to the master's configuration
      - dcgm_path: Install the code of the watcher
      - file: Remove the copies that salt-run saltutil.sync_all made
