# On the head, after `dcgm.clean` on all nodes: takes the shared scripts away. A link that still leads to them would fail jobs.
{%- from "dcgm/map.jinja" import dcgm with context %}

Remove the shared scripts:
  file.absent:
    - names:
      - {{ dcgm.scripts.prolog.shared }}
      - {{ dcgm.scripts.epilog.shared }}
