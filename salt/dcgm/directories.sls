# The directories of this project on a node, for all to enter: services of other users read there. The job map's is there
# before the exporter starts, which otherwise begins with an error about it.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set metrics = [dcgm.paths.textfile_directory] if dcgm.slurm.enabled and dcgm.node.serves_metrics else [] %}

Create the directories of this project:
  file.directory:
    - names: {{ ([dcgm.paths.exporter_config, dcgm.paths.node_runtime, dcgm.job_map.directory] + metrics) | tojson }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True

Remove what killed writers left:
  dcgm_path.swept:
    - directories: {{ [dcgm.paths.exporter_config, dcgm.paths.node_state, dcgm.job_map.directory] | tojson }}
