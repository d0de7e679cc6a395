# Who gets what, for sites whose file root is this tree. Others say `state.apply dcgm`. The matches are dcgm:hosts of the pillar.
{%- import_yaml "dcgm/defaults.yaml" as defaults %}
{%- set dcgm = salt["slsutil.merge"](defaults, pillar.get("dcgm") or {}) %}
{%- set roles = [
  (dcgm.hosts.nodes, "dcgm"),
  (dcgm.hosts.head, "dcgm.head"),
  (dcgm.slurm.enabled and dcgm.slurm.controller, "dcgm.slurm.wiring"),
  (dcgm.prometheus.enabled and dcgm.hosts.monitoring, "dcgm.prometheus"),
] %}
{#- One machine may have several of these roles: equal matches share an entry. #}
{%- set base = {} %}
{%- for match, state in roles if match %}
{%- do base.setdefault(match, [{"match": "compound"}]).append(state) %}
{%- endfor %}
base: {{ base | tojson }}
