"""The watcher on the head node: asks for roles, believes or doubts, writes target files, knows who is owed what."""
