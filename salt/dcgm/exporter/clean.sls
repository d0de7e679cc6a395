# Takes the exporter away from a node, service first. The artifact in the shared store stays for the others.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set paths, unit = dcgm.paths, dcgm.paths.unit %}

Stop and disable {{ unit }}:
  dcgm_service.stopped:
    - name: {{ unit }}

Remove the files of dcgm-exporter:
  dcgm_ownership.removed:
    - files: {{ [paths.unit_file, paths.exporter_link, paths.exporter_environment, paths.exporter_counters, paths.exporter_web] | tojson }}
    - kept: {{ [paths.enabled_flag, paths.node_runtime] | tojson }}
    - require:
      - dcgm_service: Stop and disable {{ unit }}

Remove the releases of dcgm-exporter:
  dcgm_ownership.releases_removed:
    - name: {{ paths.exporter_root }}
    - require:
      - dcgm_ownership: Remove the files of dcgm-exporter

Remove what a build of dcgm-exporter left:
  dcgm_release.build_removed:
    - name: {{ dcgm.exporter.build.directory }}

Reload systemd after removing {{ unit }}:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
      - dcgm_ownership: Remove the files of dcgm-exporter

Remove {{ paths.exporter_config }} if it is empty:
  dcgm_path.emptied:
    - name: {{ paths.exporter_config }}
    - require:
      - dcgm_ownership: Remove the files of dcgm-exporter
