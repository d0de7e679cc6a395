# On the builder: makes the artifact of the release and keeps it in the shared store.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter = dcgm.exporter %}

include:
  - dcgm.users
  - dcgm.go

Install the packages that building dcgm-exporter needs:
  pkg.installed:
    - pkgs: {{ exporter.build.packages.get(grains.os_family, []) | tojson }}

Build dcgm-exporter {{ exporter.release }}:
  dcgm_release.built:
    - name: '{{ exporter.release }}'
    - commit: {{ exporter.facts.commit | tojson }}
    - source: {{ dcgm.node.source | tojson }}
    - artifact: {{ dcgm.node.artifact }}
    - go: {{ dcgm.node.go }}
    - directory: {{ exporter.build.directory }}
    - timeout: {{ exporter.build.timeout }}
    - wait: {{ exporter.build.wait }}
    - environment: {{ exporter.build.environment | tojson }}
    - user: {{ dcgm.paths.build_user }}
    - require:
      - dcgm_user: Create the system users
      - pkg: Install the packages that building dcgm-exporter needs
      - dcgm_release: Check that Go is new enough
