# The watcher of BCM roles, on the head node that runs the Salt master.
include:
  - dcgm.watcher.install
  - dcgm.watcher.config
  - dcgm.watcher.service
