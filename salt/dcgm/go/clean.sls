# Removes the Go toolchains that this project unpacked; the distribution's Go stays.
{%- from "dcgm/map.jinja" import dcgm with context %}

Remove {{ dcgm.go.directory }}:
  dcgm_release.go_removed:
    - name: {{ dcgm.go.directory }}
