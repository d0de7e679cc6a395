# The Go toolchain that builds the exporter.
include:
  - dcgm.go.install
