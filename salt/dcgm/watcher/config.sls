# What the watcher reads: settings, credential, authorities, and the directories that it writes to as the master's user.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set path, watcher, user = dcgm.paths, dcgm.watcher, salt["bcm.master_user"]() %}

include:
  - dcgm.present

Keep the watcher's configuration from others' eyes:
  file.directory:
    - name: {{ path.head_config }}
    - user: {{ user }}
    - mode: '0700'

Let the watcher write its snapshot{{ " and target files" if dcgm.targets.enabled else "" }}:
  file.directory:
    - names: {{ ([path.head_state] + ([dcgm.targets.directory] if dcgm.targets.enabled else [])) | tojson }}
    - user: {{ user }}
    - mode: '0755'
    - makedirs: True

{%- if dcgm.roles.source == "bcm" %}
{%- set credential = [watcher.password_file] if watcher.user else [watcher.certificate, watcher.key] %}

Give the BCM credential to the master's user alone:
  bcm_watcher.credential:
    - names: {{ credential | select | list | tojson }}
    - user: {{ user }}
    - require:
      - file: Keep the watcher's configuration from others' eyes

Join the authorities that BCM's certificate is checked against:
  bcm_watcher.authorities:
    - name: {{ path.watcher_ca }}
    - files: {{ watcher.ca | tojson }}
    - require:
      - file: Keep the watcher's configuration from others' eyes
{%- endif %}

Write the watcher's settings:
  file.serialize:
    - name: {{ path.watcher_settings }}
    - dataset: {{ salt["bcm.watcher_settings"](dcgm) | tojson }}
    - serializer: json
    - user: {{ user }}
    - mode: '0600'
    - require:
      - file: Keep the watcher's configuration from others' eyes
