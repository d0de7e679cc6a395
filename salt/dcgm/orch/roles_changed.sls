# Delivers roles to the nodes that the watcher found changed or started, applies their states, and reports on each node.
Serve the nodes whose roles changed:
  salt.runner:
    - name: bcm.serve
