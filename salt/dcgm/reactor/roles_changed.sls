# On superpod/bcm/roles/changed: only starts the orchestration, which reads from the watcher's snapshot what there is to do.
Deliver changed roles to the nodes:
  runner.state.orchestrate:
    - args:
      - mods: dcgm.orch.roles_changed
