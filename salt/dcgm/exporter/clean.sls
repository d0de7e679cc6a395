# Takes the exporter away from a node, service first. The artifact in the shared store stays for the others.
{%- from "dcgm/map.jinja" import dcgm with context %}

Stop dcgm-exporter for good:
  dcgm_release.stopped:
    - name: {{ dcgm.paths.unit }}

Remove everything of dcgm-exporter:
  file.absent:
    - names: {{ [dcgm.paths.enabled_flag, dcgm.paths.unit_file, dcgm.paths.exporter_link, dcgm.paths.exporter_environment,
                 dcgm.paths.exporter_counters, dcgm.paths.exporter_root, dcgm.exporter.build.directory,
                 dcgm.paths.node_runtime] | tojson }}
    - require:
      - dcgm_release: Stop dcgm-exporter for good

Let systemd forget the unit of dcgm-exporter:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
      - file: Remove everything of dcgm-exporter

Remove the configuration directory of dcgm-exporter:
  dcgm_release.emptied:
    - name: {{ dcgm.paths.exporter_config }}
    - require:
      - file: Remove everything of dcgm-exporter

Remove the user of dcgm-exporter:
  user.absent:
    - name: {{ dcgm.exporter.user }}
    - require:
      - dcgm_release: Stop dcgm-exporter for good
