# Takes everything away again: nodes, monitoring, head. A node that is down is listed; remove it again when it is up.
{%- set hosts = salt["saltutil.runner"]("bcm.settings").hosts %}
{%- for role, sls, match in (("nodes", "dcgm.clean", hosts.nodes), ("monitoring", "dcgm.prometheus.clean", hosts.monitoring)) if match %}

Apply {{ sls }} to {{ role }}:
  salt.runner:
    - name: bcm.apply
    - sls: {{ sls }}
    - tgt: {{ match | tojson }}
    - failhard: False
    - require_in:
      - salt: Take away what is on the head
{%- endfor %}

Take away what is on the head:
  salt.state:
    - tgt: {{ hosts.head | tojson }}
    - tgt_type: compound
    - sls:
      - dcgm.slurm.scripts_clean
      - dcgm.watcher.clean
    - sync_mods: all
