# Stands for the service state: writes whether the exporter would run, from what was delivered to this node.
{%- set roles = salt["bcm.roles"]().get("roles") %}

Note whether the exporter would run:
  file.managed:
    - name: {{ opts.superpod_dcgm_roles }}.service
    - contents: {{ "unknown" if roles is none else "running" if "slurmclient" in roles else "stopped" }}

{%- if "broken" in (roles or []) %}

Fail because of a role of this test:
  test.fail_without_changes:
    - comment: no room on the device
{%- endif %}
