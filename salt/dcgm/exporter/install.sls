# Installs the release from its artifact, next to others; which one is current, the service state decides.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter = dcgm.exporter %}

include:
  - dcgm.users
  - dcgm.exporter.check
{%- if dcgm.node.builds_here %}
  - dcgm.exporter.build
{%- endif %}

Create {{ dcgm.paths.exporter_root }}:
  file.directory:
    - name: {{ dcgm.paths.exporter_root }}
    - user: root
    - group: root
    - mode: '0755'
    - require:
      - dcgm_ownership: Check that no other exporter is in the way

Install dcgm-exporter {{ exporter.release }}:
  dcgm_release.installed:
    - name: '{{ exporter.release }}'
    - artifact: {{ dcgm.node.artifact }}
    - commit: {{ exporter.facts.commit | tojson }}
    - wait: {{ dcgm.node.wait }}
    - user: {{ exporter.user if dcgm.node.engine.mode == "remote" else "root" }}
    - require:
      - dcgm_user: Create the system users
      - file: Create {{ dcgm.paths.exporter_root }}
      - dcgm_ownership: Check that no other exporter is in the way
{%- if dcgm.node.builds_here %}
      - dcgm_release: Build dcgm-exporter {{ exporter.release }}
{%- endif %}

Link {{ dcgm.paths.exporter_link }} to the current release:
  file.symlink:
    - name: {{ dcgm.paths.exporter_link }}
    - target: {{ dcgm.paths.exporter_current }}/dcgm-exporter
    - require:
      - dcgm_release: Install dcgm-exporter {{ exporter.release }}
