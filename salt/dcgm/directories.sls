# The directories of this project on a node, for all to enter: services of other users read there.
{%- from "dcgm/map.jinja" import dcgm with context %}

Create the directories of this project:
  file.directory:
    - names: {{ [dcgm.paths.exporter_config, dcgm.paths.node_runtime] | tojson }}
    - user: root
    - group: root
    - mode: '0755'

Remove what killed writers left:
  dcgm_path.swept:
    - directories: {{ [dcgm.paths.exporter_config, dcgm.paths.node_state, dcgm.job_map.directory] | tojson }}
