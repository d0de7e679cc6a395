"""What a node runs by itself: device table, job map, reconciliation, metrics; standard library only."""
