# Takes prolog and epilog away from a node: links first, then what they lead to. The shared scripts stay for the other nodes.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- from "dcgm/slurm/former.jinja" import former with context %}
{%- set paths = dcgm.paths %}
{%- set units = [paths.job_map_timer, paths.job_map_unit, paths.devices_unit] %}

# Where the pillar wants the links, and where the last apply made them, whatever its pillar was: none may lead to nowhere.
{%- for kind in ("prolog", "epilog") %}

Run the {{ kind }} of the job map no longer:
  job_map.unlinked:
    - names: {{ [dcgm.slurm[kind ~ "_link"], former.get(kind ~ "_link")] | select | list | tojson }}
    - target: {{ dcgm.slurm.shared_directory | replace("{kind}", kind) }}/{{ kind }}-dcgm.sh
{%- endfor %}

Look after the job map no longer:
  dcgm_release.stopped:
    - names: {{ units | tojson }}

Remove everything of the job map:
  file.absent:
    - names:
      - {{ dcgm.slurm.local_directory }}
      - {{ paths.job_map_config }}
      - {{ paths.tmpfiles_config }}
      - {{ dcgm.job_map.directory }}
      - {{ paths.node_code }}
{%- for name in units %}
      - /etc/systemd/system/{{ name }}
{%- endfor %}
{%- for name in ("devices", "devices_status", "spool", "job_map_state") %}
      - {{ paths[name] }}
{%- endfor %}
      - {{ paths.spool }}.1
      - {{ paths.job_map_state }}.lock
{%- for directory in (dcgm.metrics.textfile_directory, former.get("textfile")) if directory %}
      - {{ directory }}/{{ paths.textfile }}
{%- endfor %}
{%- if "directory" in former %}
      - {{ former.directory }}
{%- endif %}
    - require:
      - job_map: Run the prolog of the job map no longer
      - job_map: Run the epilog of the job map no longer
      - dcgm_release: Look after the job map no longer

Let systemd forget the units of the job map:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
      - file: Remove everything of the job map
