# Gives every minion the settings of superpod-dcgm-exporter: there is nothing secret in them.
base:
  '*':
    - dcgm
