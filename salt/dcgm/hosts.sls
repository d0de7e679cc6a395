# On the head: do the matches of dcgm:hosts mean minions of this master? Before anything else is done.
{%- from "dcgm/map.jinja" import dcgm with context %}

Check that dcgm:hosts names minions of this master:
  dcgm_hosts.known:
    - hosts: {{ dcgm.hosts | tojson }}
    - builds: {{ dcgm.exporter.enabled and dcgm.exporter.method == "build" }}
    - order: first
    - failhard: True
