# Unit, environment and counters of the exporter. A change of any of them restarts it.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter = dcgm.exporter %}
{%- set installed = "Install dcgm-exporter " ~ exporter.release %}

include:
  - dcgm.directories
  - dcgm.exporter.install
  - dcgm.exporter.counters
  - dcgm.exporter.web
  - dcgm.exporter.service

Write the environment of dcgm-exporter:
  file.managed:
    - name: {{ dcgm.paths.exporter_environment }}
    - source: salt://dcgm/exporter/files/exporter.env.jinja
    - template: jinja
    - user: root
    # systemd reads it as root; a proxy in it may have a password.
    - mode: '0600'
    - follow_symlinks: False
    - context: {{ {"environment": dcgm.node.environment} | tojson }}
    - require:
      - dcgm_web: Write the web configuration of dcgm-exporter
      - dcgm_counters: Install the counters of dcgm-exporter

Write dcgm-exporter.service:
  file.managed:
    - name: {{ dcgm.paths.unit_file }}
    - source: salt://dcgm/exporter/files/dcgm-exporter.service.jinja
    - template: jinja
    - user: root
    - mode: '0644'
    - follow_symlinks: False
    - context: {{ {"mode": dcgm.node.engine.mode, "boot_wait": dcgm.node.boot_wait, "exporter": exporter, "paths": dcgm.paths} | tojson }}
    - require:
      - dcgm_counters: Install the counters of dcgm-exporter

extend:
  Start or stop dcgm-exporter as the node's roles say:
    dcgm_service:
      - deploying: True
      - require:
        - dcgm_preflight: Check that this node can run dcgm-exporter {{ exporter.release }}
      - watch:
        - dcgm_release: {{ installed }}
        - file: Link {{ dcgm.paths.exporter_link }} to the current release
        - dcgm_counters: Install the counters of dcgm-exporter
        - dcgm_web: Write the web configuration of dcgm-exporter
        - file: Write the environment of dcgm-exporter
        - file: Write dcgm-exporter.service
