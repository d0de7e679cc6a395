# Before the exporter of a node is changed: can the installed release run here? All states that change it require this.
{%- from "dcgm/map.jinja" import dcgm with context %}
{%- set exporter, environment = dcgm.exporter, dcgm.node.environment %}

include:
  - dcgm.exporter.install

Check that this node can run dcgm-exporter {{ exporter.release }}:
  dcgm_preflight.passed:
    - name: {{ dcgm.paths.unit }}
    - release: '{{ exporter.release }}'
    - roles: {{ dcgm.roles | tojson }}
    - url: {{ dcgm.node.metrics_url }}
    - libdcgm: {{ exporter.facts.libdcgm }}
    - nvml: {{ exporter.facts.nvml }}
    - dcgm: '{{ exporter.facts.dcgm }}'
    - engine: {{ environment.get("DCGM_REMOTE_HOSTENGINE_INFO", "") | tojson }}
    - engine_units: {{ exporter.engine_units | tojson }}
    - validates: {{ environment.get("DISABLE_STARTUP_VALIDATE", "") | lower not in ("1", "t", "true") }}
    - require:
      - dcgm_release: Install dcgm-exporter {{ exporter.release }}
