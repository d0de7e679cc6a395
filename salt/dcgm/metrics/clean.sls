# Takes the service of this project's own metrics away.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set unit = dcgm.paths.textfile_unit %}

Serve this project's own metrics no longer:
  dcgm_release.stopped:
    - name: {{ unit }}

Remove the unit of this project's own metrics:
  file.absent:
    - names: {{ ["/etc/systemd/system/" ~ unit, dcgm.paths.textfile_directory] | tojson }}
    - require:
      - dcgm_release: Serve this project's own metrics no longer

Let systemd forget the unit of this project's own metrics:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
      - file: Remove the unit of this project's own metrics
