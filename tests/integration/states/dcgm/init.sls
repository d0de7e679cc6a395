# Stands for the whole deployment of a node: tells the watcher, and notes with which configuration it ran.
{%- from "dcgm/map.jinja" import dcgm with context %}

Tell the watcher that this node is deployed:
  bcm_node.deployed:
    - order: first

Note with which configuration it ran:
  cmd.run:
    - name: echo {{ dcgm.cluster }} >> {{ opts.superpod_dcgm_state }}/../applies

Write the record of this apply:
  bcm_node.applied:
    - order: last
