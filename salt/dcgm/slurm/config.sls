# Settings that prolog and epilog read on the node, and the directory of the job map, now and at every boot.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- from "dcgm/slurm/former.jinja" import former with context %}

Write the settings of prolog and epilog:
  file.managed:
    - name: {{ dcgm.paths.job_map_config }}
    # A template, since it renders after the exporter's states and so knows which release they left running.
    - source: salt://dcgm/slurm/files/job-map.conf.jinja
    - template: jinja
    - context: {{ {"settings": dcgm.node.job_map, "release": dcgm.exporter.release, "label": dcgm.job_map.label} | tojson }}
    - mode: '0644'
    - makedirs: True

Make the directory of the job map at every boot:
  file.managed:
    - name: {{ dcgm.paths.tmpfiles_config }}
    - contents:
      - '# The job map that dcgm-exporter reads. Written by the Salt state dcgm.slurm.config.'
      - d {{ dcgm.job_map.directory }} 0755 root root -
      - d {{ dcgm.paths.node_runtime }} 0755 root root -
    - mode: '0644'
    - makedirs: True

Make the directory of the job map:
  file.directory:
    - name: {{ dcgm.job_map.directory }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True

{%- for kind in ("prolog", "epilog") if kind ~ "_link" in former %}

Run the {{ kind }} of the job map through its former link no longer:
  job_map.unlinked:
    - name: {{ former[kind ~ "_link"] }}
    - target: /{{ kind }}-dcgm.sh
    - require_in:
      - file: Write the settings of prolog and epilog
{%- endfor %}
{%- if "directory" in former %}

Move the job map to where it is now:
  job_map.moved:
    - name: {{ dcgm.job_map.directory }}
    - former: {{ former.directory }}
    - require:
      - file: Write the settings of prolog and epilog
      - file: Make the directory of the job map
{%- endif %}
{%- if "textfile" in former %}

Remove this project's metrics from where they were written before:
  file.absent:
    - name: {{ former.textfile }}/{{ dcgm.paths.textfile }}
    - require:
      - file: Write the settings of prolog and epilog
{%- endif %}
