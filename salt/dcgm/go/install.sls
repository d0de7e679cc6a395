# Installs Go from an archive with a known SHA-256, next to the system's, or checks that the distribution's is new enough.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set go = dcgm.go %}

{%- if go.enabled and go.method == "archive" %}

Create the directory of Go {{ go.version }}:
  file.directory:
    - names: {{ [go.directory, go.directory ~ "/go" ~ go.version] | tojson }}
    - user: root
    - group: root
    - mode: '0755'

Unpack Go {{ go.version }}:
  dcgm_release.go_unpacked:
    - name: {{ go.directory }}/go{{ go.version }}
    - source: {{ dcgm.node.go_source | tojson }}
    - sha256: {{ go.sha256.get(dcgm.node.arch, "") | tojson }}
    - require:
      - file: Create the directory of Go {{ go.version }}
    - require_in:
      - dcgm_release: Check that Go is new enough

{%- elif go.enabled %}

Install the distribution's Go:
  pkg.installed:
    - pkgs: {{ go.packages | tojson }}
    - require_in:
      - dcgm_release: Check that Go is new enough

{%- endif %}

Check that Go is new enough:
  dcgm_release.go_usable:
    - name: {{ dcgm.node.go }}/bin/go
    - minimum: '{{ dcgm.exporter.facts.go_minimum }}'
