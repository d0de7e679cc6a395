# On superpod/bcm/roles/changed: makes the role calls, whose nodes and roles the runner reads from the watcher's snapshot.
# The runner itself, not the orchestration dcgm.orch.roles_changed: rendering that costs the master more than ten calls.
Make the role calls that are owed:
  runner.bcm.deliver_changes: []
