# Takes the exporter away from a node, service first. The artifact in the shared store stays for the others.
{%- from "dcgm/map.jinja" import dcgm with context %}

Stop dcgm-exporter for good:
  dcgm_release.stopped:
    - name: {{ dcgm.paths.unit }}

Remove everything of dcgm-exporter:
  file.absent:
    - names: {{ [dcgm.paths.enabled_flag, dcgm.paths.unit_file, dcgm.paths.exporter_link, dcgm.paths.exporter_config,
                 dcgm.paths.exporter_root, dcgm.exporter.build.directory, dcgm.paths.node_runtime] | tojson }}
    - require:
      - dcgm_release: Stop dcgm-exporter for good

Remove the user of dcgm-exporter:
  user.absent:
    - name: {{ dcgm.exporter.user }}
    - require:
      - dcgm_release: Stop dcgm-exporter for good
