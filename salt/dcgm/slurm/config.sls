# Settings that prolog and epilog read on the node, and the directory of the job map, now and at every boot.
{%- from "dcgm/map.jinja" import dcgm with context %}

Write the settings of prolog and epilog:
  file.managed:
    - name: {{ dcgm.paths.job_map_config }}
    - contents:
      - '# Read by prolog-dcgm.sh and epilog-dcgm.sh. Written by the Salt state dcgm.slurm.config from the pillar `dcgm`.'
      - directory={{ dcgm.job_map.directory }}
      - idle={{ "unlink" if dcgm.exporter.facts.empty_hides else "empty" }}
      - time_limit={{ dcgm.job_map.time_limit }}
      - prolog_link={{ dcgm.slurm.prolog_link }}
      - epilog_link={{ dcgm.slurm.epilog_link }}
    - mode: '0644'
    - makedirs: True

Make the directory of the job map at every boot:
  file.managed:
    - name: {{ dcgm.paths.tmpfiles_config }}
    - contents:
      - '# The job map that dcgm-exporter reads. Written by the Salt state dcgm.slurm.config.'
      - d {{ dcgm.job_map.directory }} 0755 root root -
    - mode: '0644'
    - makedirs: True

Make the directory of the job map:
  file.directory:
    - name: {{ dcgm.job_map.directory }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True
