# Configuration that prolog, epilog and the agent read on the node, and the job map directory, now and at every boot.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set former = salt["job_map.former"](dcgm.node.job_map) %}

Write job-map.conf:
  file.managed:
    - name: {{ dcgm.paths.job_map_config }}
    # A template, since it renders after the exporter's states and so knows which release they left running.
    - source: salt://dcgm/agent/files/job-map.conf.jinja
    - template: jinja
    - context: {{ {"job_map_conf": dcgm.node.job_map, "release": dcgm.exporter.release, "label": dcgm.job_map.label} | tojson }}
    - mode: '0644'
    - makedirs: True

Create the job map directory at boot:
  file.managed:
    - name: {{ dcgm.paths.tmpfiles_config }}
    - contents:
      - '# The job map that dcgm-exporter reads. Written by the Salt state dcgm.agent.config.'
      - d {{ dcgm.job_map.directory }} 0755 root root -
      - d {{ dcgm.paths.node_runtime }} 0755 root root -
    - mode: '0644'
    - makedirs: True

Create the job map directory:
  file.directory:
    - name: {{ dcgm.job_map.directory }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True
{%- for kind in dcgm.scripts if former[kind ~ "_link"] %}

Remove the former {{ kind }} link:
  job_map.unlinked:
    - name: {{ former[kind ~ "_link"] }}
    - target: {{ dcgm.scripts[kind].target }}
    - known: {{ [dcgm.scripts[kind].local, dcgm.scripts[kind].shared] | tojson }}
    - storage: {{ dcgm.shared_storage | tojson }}
    - require_in:
      - file: Write job-map.conf
{%- endfor %}
{%- if former.directory %}

Move the job map from its former directory:
  job_map.moved:
    - name: {{ dcgm.job_map.directory }}
    - former: {{ former.directory }}
    - require:
      - file: Write job-map.conf
      - file: Create the job map directory
{%- endif %}
{%- if former.textfile %}

Remove the metrics file from its former directory:
  file.absent:
    - name: {{ former.textfile }}/{{ dcgm.paths.textfile }}
    - require:
      - file: Write job-map.conf
{%- endif %}
