# Takes nodes, monitoring and the watcher away. Clean a node that was down when it is back: `salt NODE state.apply dcgm.clean`.
# The shared Slurm scripts stay: a node that was down would boot with links to nowhere, and Slurm would drain it.
# Apply dcgm.slurm.shared_clean to the head by hand after all nodes are cleaned.
{%- set hosts = salt["saltutil.runner"]("bcm.settings").hosts %}
{%- for role, sls, match in (("nodes", "dcgm.clean", hosts.nodes), ("monitoring", "dcgm.prometheus.clean", hosts.monitoring),
                            ("monitoring", "dcgm.grafana.clean", hosts.monitoring)) if match %}

Apply {{ sls }} to {{ role }}:
  salt.runner:
    - name: dcgm.apply
    - sls: {{ sls }}
    - tgt: {{ match | tojson }}
    - failhard: False
    - require_in:
      - salt: Remove the watcher from the head
{%- endfor %}

Remove the watcher from the head:
  salt.state:
    - tgt: {{ hosts.head | tojson }}
    - tgt_type: compound
    - sls: dcgm.watcher.clean
    - sync_mods: all
