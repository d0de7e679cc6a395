# What the watcher reads: settings, credential, authorities, and the directories that it writes to as the master's user.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set path, watcher, user = dcgm.paths, dcgm.watcher, salt["bcm.master_user"]() %}

include:
  - dcgm.present

{%- if dcgm.targets.enabled %}

# Root's, since the artifacts that all nodes run lie beside the target files.
Create the directory above the target files:
  dcgm_path.made:
    - name: {{ salt["file.dirname"](dcgm.targets.directory) }}
    - not_of: {{ user }}
    - require_in:
      - file: Create the directories that the watcher writes to
{%- endif %}

Restrict {{ path.head_config }} to the master's user:
  file.directory:
    - name: {{ path.head_config }}
    - user: {{ user }}
    - mode: '0700'

Create the directories that the watcher writes to:
  file.directory:
    - names: {{ ([path.head_state] + ([dcgm.targets.directory] if dcgm.targets.enabled else [])) | tojson }}
    - user: {{ user }}
    - mode: '0755'

{%- if dcgm.roles.source == "bcm" %}
{%- set credential = [watcher.password_file] if watcher.user else [watcher.certificate, watcher.key] %}

Restrict the BCM credential to the master's user:
  bcm_watcher.credential:
    - names: {{ credential | select | list | tojson }}
    - user: {{ user }}
    - require:
      - file: Restrict {{ path.head_config }} to the master's user

Join the certificate authorities of BCM:
  bcm_watcher.authorities:
    - name: {{ path.watcher_ca }}
    - files: {{ watcher.ca | tojson }}
    - require:
      - file: Restrict {{ path.head_config }} to the master's user
{%- endif %}

Write {{ path.watcher_settings }}:
  file.serialize:
    - name: {{ path.watcher_settings }}
    - dataset: {{ dcgm.watcher_settings | tojson }}
    - serializer: json
    - user: {{ user }}
    - mode: '0600'
    - require:
      - file: Restrict {{ path.head_config }} to the master's user
