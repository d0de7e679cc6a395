# Installs the release from its artifact, next to others; which one is current, the service state decides.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter = dcgm.exporter %}

include:
  - dcgm.exporter.check
{%- if dcgm.node.builds_here %}
  - dcgm.exporter.build
{%- endif %}

Install dcgm-exporter {{ exporter.release }}:
  dcgm_release.installed:
    - name: '{{ exporter.release }}'
    - artifact: {{ dcgm.node.artifact }}
    - commit: {{ exporter.facts.commit | tojson }}
    - wait: {{ dcgm.node.wait }}
    - require:
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

{%- if dcgm.node.engine.mode == "remote" %}

Create the user {{ exporter.user }}:
  user.present:
    - name: {{ exporter.user }}
    - system: True
    - createhome: False
    - home: /nonexistent
    - shell: /usr/sbin/nologin
    - fullname: dcgm-exporter
    - require:
      - dcgm_ownership: Check that no other exporter is in the way
{%- endif %}
