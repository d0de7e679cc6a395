"""Prometheus on the monitoring host: ours beside that of others, or one of others that reads our targets."""
