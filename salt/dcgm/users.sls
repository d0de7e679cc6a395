# The system users that this machine needs, first of all: a name or number that somebody else has stops everything.
{%- from "dcgm/map.jinja" import dcgm with context %}

Create the system users:
  dcgm_user.present:
    - users: {{ dcgm.node.users | tojson }}
    - order: first
    - failhard: True
