# A small HTTP server on the head that gives Prometheus the watcher's own metrics.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set unit = dcgm.paths.head_metrics_unit %}

include:
  - dcgm.watcher.install

Create the user of {{ unit }}:
  dcgm_user.present:
    - users: {{ dcgm.node.head_users | tojson }}
    - order: first
    - failhard: True

Write {{ unit }}:
  file.managed:
    - name: /etc/systemd/system/{{ unit }}
    - source: salt://dcgm/agent/files/{{ dcgm.paths.textfile_unit }}.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - context: {{ dcgm.node.head_metrics | tojson }}
    - require:
      - dcgm_path: Install the code of the watcher

Start {{ unit }}:
  dcgm_unit.running:
    - name: {{ unit }}
    - port: {{ dcgm.head_metrics.port }}
    - seconds: 1
    - require:
      - dcgm_user: Create the user of {{ unit }}
    - watch:
      - file: Write {{ unit }}
      - dcgm_path: Install the code of the watcher
