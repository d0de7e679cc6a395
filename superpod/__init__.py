"""Command line tool of superpod-dcgm-exporter; set up by setup.sh."""

__version__ = "0.1.0"
