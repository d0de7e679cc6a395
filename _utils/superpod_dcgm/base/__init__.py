"""What every part stands on: paths, files, processes, roles. It imports nothing of ours; standard library only."""
