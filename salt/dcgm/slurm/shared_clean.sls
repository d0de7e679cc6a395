# On the head, after `dcgm.clean` on all nodes, or after all have scripts of their own: takes the shared scripts away, and
# first the links in places that nodes share. A node's own link that still leads to the scripts would fail its jobs.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- for kind, script in dcgm.scripts.items() %}

Remove the shared {{ kind }} link:
  job_map.unlinked:
    - name: {{ script.link }}
    - target: {{ script.shared }}
    - known: {{ [script.local, script.shared] | tojson }}
    - everywhere: True
    - require_in:
      - job_map: Remove the shared scripts
{%- endfor %}

Remove the shared scripts:
  job_map.removed:
    - names:
      - {{ dcgm.scripts.prolog.shared }}
      - {{ dcgm.scripts.epilog.shared }}
