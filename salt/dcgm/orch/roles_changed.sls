# By hand: makes the role calls that the watcher found to be owed. The reactor does the same by itself.
Make the role calls that are owed:
  salt.runner:
    - name: bcm.deliver_changes
