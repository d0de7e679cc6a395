# Stands for the whole deployment of a node: tells the watcher, and counts how often it ran.
include:
  - dcgm.exporter.service

Tell the watcher that this node is deployed:
  bcm_node.deployed:
    - order: first

Count the whole applies:
  cmd.run:
    - name: echo whole >> {{ opts.superpod_dcgm_roles }}.applies
