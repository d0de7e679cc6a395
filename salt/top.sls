# Who gets what, for sites whose file root is this tree. Others say `state.apply dcgm`. The matches are dcgm:hosts of the pillar.
{%- import_yaml "dcgm/defaults.yaml" as defaults %}
{%- set dcgm = salt["slsutil.merge"](defaults, pillar.get("dcgm") or {}) %}
{%- set monitoring = ["dcgm.prometheus"] if dcgm.prometheus.enabled else [] %}
{#- One machine may be head and monitoring host: equal matches share an entry. #}
{%- set base = {} %}
{%- for host, states in (("nodes", ["dcgm"]), ("head", ["dcgm.head"]), ("monitoring", monitoring)) if dcgm.hosts[host] and states %}
{%- do base.setdefault(dcgm.hosts[host], [{"match": "compound"}]).extend(states) %}
{%- endfor %}
base: {{ base | tojson }}
