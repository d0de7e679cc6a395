"""The logic of superpod-dcgm-exporter, in parts; docs/architecture.md has the map and the import law."""
