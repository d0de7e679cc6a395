# Takes the HTTP server of the watcher's own metrics away.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set unit = dcgm.paths.head_metrics_unit %}

Stop and disable {{ unit }}:
  dcgm_service.stopped:
    - name: {{ unit }}

Remove {{ unit }}:
  file.absent:
    - name: /etc/systemd/system/{{ unit }}
    - require:
      - dcgm_service: Stop and disable {{ unit }}

Reload systemd after removing {{ unit }}:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
      - file: Remove {{ unit }}

Remove the user of {{ unit }}:
  dcgm_user.absent:
    - users: {{ dcgm.node.head_users_alone | tojson }}
    - require:
      - file: Remove {{ unit }}
