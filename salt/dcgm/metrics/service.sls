# A small service that gives Prometheus the text file with this project's own metrics.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.slurm.config
  - dcgm.slurm.code

Write the unit of this project's own metrics:
  file.managed:
    - name: /etc/systemd/system/{{ dcgm.paths.textfile_unit }}
    - source: salt://dcgm/metrics/files/dcgm-textfile.service.jinja
    - template: jinja
    - mode: '0644'
    - context: {{ {"python": dcgm.node.python, "code": dcgm.paths.node_code} | tojson }}
    - require:
      - file: Install the code of the job map's services

Serve this project's own metrics:
  service.running:
    - name: {{ dcgm.paths.textfile_unit }}
    - enable: True
    - watch:
      - file: Write the unit of this project's own metrics
      - file: Install the code of the job map's services
      - file: Write the settings of prolog and epilog
