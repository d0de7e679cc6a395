# What `state.apply` on a head node means: the watcher, and what the nodes take from shared storage.
{%- from "dcgm/map.jinja" import dcgm with context %}

include: {{ dcgm.head | tojson }}
