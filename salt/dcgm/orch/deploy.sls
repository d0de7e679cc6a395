# Deploys everything: head, builder, nodes batch by batch until one fails, monitoring, and a report on each node.
{%- set hosts = salt["saltutil.runner"]("bcm.settings").hosts %}
{%- set ready = "Wait until the master is back" %}

Apply the head's states:
  salt.state:
    - tgt: {{ hosts.head | tojson }}
    - tgt_type: compound
    - sls: dcgm.head
    - sync_mods: all

{{ ready }}:
  salt.runner:
    - name: dcgm.ready
    - require:
      - salt: Apply the head's states

{%- set steps = [("builder", "dcgm.exporter.build", hosts.builder), ("nodes", "dcgm", hosts.nodes),
                 ("monitoring", "dcgm.prometheus", hosts.monitoring)] %}
{%- for role, sls, match in steps if match %}

Apply {{ sls }} to {{ role }}:
  salt.runner:
    - name: dcgm.apply
    - sls: {{ sls }}
    - tgt: {{ match | tojson }}
    - require:
      - salt: {{ ready }}
    {%- if role == "nodes" and hosts.builder %}
      - salt: Apply dcgm.exporter.build to builder
    {%- endif %}
{%- endfor %}
{%- if hosts.nodes %}

Report on every node:
  salt.runner:
    - name: dcgm.report
    - short: True
    - order: last
{%- endif %}
