# Takes the system users away that this project made; after all that runs as one of them.
{%- from "dcgm/map.jinja" import dcgm with context %}

Remove the system users:
  dcgm_user.absent:
    - users: {{ dcgm.node.all_users | tojson }}
    - order: last
