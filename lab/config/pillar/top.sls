# Pillar of the lab: every minion gets the one file, as on a site.
base:
  '*':
    - dcgm
