# Prometheus on a machine that dcgm:hosts:monitoring does not name: a sentence instead of a surprise.
{%- from "dcgm/map.jinja" import dcgm with context %}

Check that dcgm:hosts:monitoring matches this minion:
  test.fail_without_changes:
    - comment: {{ ("dcgm:hosts:monitoring: '" ~ dcgm.hosts.monitoring ~ "' does not match this minion, " ~ grains.id
        ~ ("" if dcgm.prometheus.enabled else ", or dcgm:prometheus:enabled is false")
        ~ ": no Prometheus is installed or configured here") | tojson }}
