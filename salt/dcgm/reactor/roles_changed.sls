# On superpod/bcm/roles/changed: only starts the orchestration, which reads from the watcher's snapshot what there is to do.
Serve the nodes whose roles changed:
  runner.state.orchestrate:
    - args:
      - mods: dcgm.orch.roles_changed
