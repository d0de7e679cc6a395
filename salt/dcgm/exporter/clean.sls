# Takes the exporter away from a node, service first. The artifact in the shared store stays for the others.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set paths, unit = dcgm.paths, dcgm.paths.unit %}

Stop and disable {{ unit }}:
  dcgm_service.stopped:
    - name: {{ unit }}

Remove the files of dcgm-exporter:
  file.absent:
    - names:
      - {{ paths.enabled_flag }}
      - {{ paths.unit_file }}
      - {{ paths.exporter_link }}
      - {{ paths.exporter_environment }}
      - {{ paths.exporter_counters }}
      - {{ paths.exporter_root }}
      - {{ dcgm.exporter.build.directory }}
      - {{ paths.node_runtime }}
    - require:
      - dcgm_service: Stop and disable {{ unit }}

Reload systemd after removing {{ unit }}:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
      - file: Remove the files of dcgm-exporter

Remove {{ paths.exporter_config }} if it is empty:
  dcgm_path.emptied:
    - name: {{ paths.exporter_config }}
    - require:
      - file: Remove the files of dcgm-exporter
