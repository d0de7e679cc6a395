# Takes nodes, monitoring and the watcher away. Clean a node that was down when it is back: `salt NODE state.apply dcgm.clean`.
# The shared Slurm scripts stay: a node that was down would boot with links to nowhere, and Slurm would drain it.
# Apply dcgm.slurm.scripts_clean to the head by hand after all nodes are cleaned.
{%- set hosts = salt["saltutil.runner"]("bcm.settings").hosts %}
{%- for role, sls, match in (("nodes", "dcgm.clean", hosts.nodes), ("monitoring", "dcgm.prometheus.clean", hosts.monitoring)) if match %}

Apply {{ sls }} to {{ role }}:
  salt.runner:
    - name: bcm.apply
    - sls: {{ sls }}
    - tgt: {{ match | tojson }}
    - failhard: False
    - require_in:
      - salt: Take the watcher away from the head
{%- endfor %}

Take the watcher away from the head:
  salt.state:
    - tgt: {{ hosts.head | tojson }}
    - tgt_type: compound
    - sls: dcgm.watcher.clean
    - sync_mods: all
