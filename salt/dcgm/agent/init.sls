# What a node runs by itself: device table, care of the job map, its metrics. Prolog and epilog need it.
{%- from "dcgm/map.jinja" import dcgm with context %}

include:
  - dcgm.agent.install
  - dcgm.agent.config
  - dcgm.agent.devices
  - dcgm.agent.service
  - dcgm.agent.textfile{{ "" if dcgm.node.serves_metrics else "_clean" }}
