# Delivers roles to the nodes that the watcher found changed or started, applies their states, and reports on each node.
Deliver changed roles to the nodes:
  salt.runner:
    - name: bcm.deliver_changes
