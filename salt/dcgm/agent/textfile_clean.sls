# Takes the HTTP server of this project's own metrics away.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set unit = dcgm.paths.textfile_unit %}

Stop and disable {{ unit }}:
  dcgm_service.stopped:
    - name: {{ unit }}

Remove {{ unit }}:
  file.absent:
    - names:
      - /etc/systemd/system/{{ unit }}
      - {{ dcgm.paths.textfile_directory }}
    - require:
      - dcgm_service: Stop and disable {{ unit }}

Reload systemd after removing {{ unit }}:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
      - file: Remove {{ unit }}
