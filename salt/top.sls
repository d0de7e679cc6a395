# Who gets what, for sites whose file root is this tree. Others say `state.apply dcgm`. The matches are dcgm:hosts of the pillar.
{%- import_yaml "dcgm/defaults.yaml" as defaults %}
{%- set dcgm = salt["slsutil.merge"](defaults, pillar.get("dcgm") or {}) %}
{%- set components = {
  "nodes": ["dcgm"],
  "head": ["dcgm.head"],
  "monitoring": ["dcgm.prometheus"] if dcgm.prometheus.enabled else [],
} %}

base:
{%- for host, states in components.items() if dcgm.hosts[host] and states %}
  {{ dcgm.hosts[host] | tojson }}:
    - match: compound
{%- for state in states %}
    - {{ state }}
{%- endfor %}
{%- else %}
  {}
{%- endfor %}
