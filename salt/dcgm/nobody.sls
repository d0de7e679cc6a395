# For a minion that no key of dcgm:hosts matches: what is left of monitoring goes, else a sentence says why nothing is done.
{%- set found = salt["dcgm_config.unmatched"](pillar.get("dcgm"), saltenv) %}
{%- if found.left %}

include: {{ found.left | tojson }}
{%- else %}

Check that a key of dcgm:hosts matches this minion:
  test.fail_without_changes:
    - comment: {{ found.comment | tojson }}
{%- endif %}
