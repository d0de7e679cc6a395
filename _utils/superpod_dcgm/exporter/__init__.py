"""dcgm-exporter on builder and nodes: build, store, install, run, take back."""
