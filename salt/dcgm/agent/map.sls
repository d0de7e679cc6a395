# The job map directory, now and at every boot: the exporter looks for it when it starts, prolog and epilog write there.
{%- from "dcgm/map.jinja" import dcgm with context %}

Create the job map directory at boot:
  file.managed:
    - name: {{ dcgm.paths.tmpfiles_config }}
    - contents:
      - '# The job map that dcgm-exporter reads. Written by the Salt state dcgm.agent.config.'
      - d {{ dcgm.job_map.directory }} 0755 root root -
      - d {{ dcgm.paths.node_runtime }} 0755 root root -
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    - dir_mode: '0755'

Create the job map directory:
  file.directory:
    - names: {{ ([dcgm.job_map.directory] + ([dcgm.paths.textfile_directory] if dcgm.node.serves_metrics else [])) | tojson }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True
