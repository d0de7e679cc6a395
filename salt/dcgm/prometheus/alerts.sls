# Says which alerts this site does not have, and why: no row is there to read, or the pillar switches one off.
{%- from "dcgm/map.jinja" import dcgm with context %}

Check which alerts this site can have:
  test.succeed_without_changes:
    - comment: {{ dcgm.alerts_left_out | tojson }}
