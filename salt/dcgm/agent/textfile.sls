# A small HTTP server that gives Prometheus the text file with this project's own metrics.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set unit = dcgm.paths.textfile_unit %}

include:
  - dcgm.users
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

Start {{ unit }}:
  dcgm_unit.running:
    - name: {{ unit }}
    - port: {{ dcgm.metrics.port }}
    - seconds: 1
    - require:
      - dcgm_user: Create the system users
    - watch:
      - file: Write {{ unit }}
      - dcgm_path: Install the code of the agent
      - file: Write job-map.conf
