# Takes the watcher away, in reverse. The credential stays: it is the administrator's, who revokes it in cmsh.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set path = dcgm.paths %}

include:
  - dcgm.watcher.metrics_clean
  - dcgm.watcher.metrics_unlinked

Remove the watcher from the master's configuration:
  file.absent:
    - name: {{ path.watcher_master_config }}

Remove the settings, snapshot and code of the watcher:
  file.absent:
    - names: {{ [path.watcher_settings, path.watcher_ca, path.snapshot, path.snapshot ~ ".lock", path.snapshot ~ ".watcher",
                 path.head_state ~ "/deliveries.lock", path.head_state ~ "/holds.json", path.head_state ~ "/holds.json.lock",
                 path.head_state ~ "/applied", path.head_state ~ "/members.json", path.head_state ~ "/members.json.lock",
                 salt["file.dirname"](path.head_metrics), path.watcher_code] | tojson }}
    - require:
      - bcm_watcher: Remove the link to the watcher's metrics
      - dcgm_service: Stop and disable {{ path.head_metrics_unit }}
      - file: Remove the watcher from the master's configuration

Remove the directory of the watcher's state if it is empty:
  dcgm_path.emptied:
    - name: {{ path.head_state }}
    - require:
      - file: Remove the settings, snapshot and code of the watcher

Remove the target files that the watcher wrote:
  bcm_watcher.targets_removed:
    - names: {{ [dcgm.targets.directory, dcgm.targets.directory ~ "/superpod-dcgm",
                 dcgm.targets.directory ~ "/superpod-dcgm-head"] | tojson }}
    - require:
      - file: Remove the watcher from the master's configuration

Remove the directories of the other target files if they are empty:
  dcgm_path.emptied:
    - names: {{ [dcgm.targets.directory ~ "/superpod-dcgm", dcgm.targets.directory ~ "/superpod-dcgm-head"] | tojson }}
    - require:
      - bcm_watcher: Remove the target files that the watcher wrote

Restart the Salt master shortly:
  cmd.run:
    - name: systemd-run --collect --unit={{ path.watcher_restart }} --on-active=2 --timer-property=AccuracySec=100ms systemctl restart salt-master.service
    - unless: systemctl is-active --quiet {{ path.watcher_restart }}.timer
    - order: last
    - onchanges:
      - file: Remove the watcher from the master's configuration
