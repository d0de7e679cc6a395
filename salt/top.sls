# Who gets what, for sites whose file root is this tree. Others say `state.apply dcgm`. The matches are dcgm:hosts of the pillar.
# They are evaluated here: Salt itself says of one that it cannot read no more than "No Top file or master_tops data matches".
{%- import_yaml "dcgm/defaults.yaml" as defaults %}
{%- set site = pillar.get("dcgm") %}
{%- set dcgm = salt["slsutil.merge"](defaults, site if site is mapping else {}) %}
{%- set roles = [
  (dcgm.hosts.nodes, "dcgm"),
  (dcgm.hosts.head, "dcgm.head"),
  (dcgm.slurm.enabled and dcgm.slurm.controller, "dcgm.slurm.wiring"),
  (dcgm.prometheus.enabled and dcgm.hosts.monitoring, "dcgm.prometheus"),
  (dcgm.grafana.enabled and dcgm.hosts.monitoring, "dcgm.grafana"),
] %}
{%- set mine = [] %}
{%- for match, state in roles if match is string and match and salt["match.compound"](match) %}
{%- do mine.append(state) %}
{%- endfor %}
base:
  '*': {{ (mine or ["dcgm.nobody"]) | tojson }}
