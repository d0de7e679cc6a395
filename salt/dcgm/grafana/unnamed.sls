# Grafana on a machine that dcgm:hosts:monitoring does not name, or that nobody asked for: a sentence.
{%- from "dcgm/map.jinja" import dcgm with context %}

Check that Grafana is wanted on this minion:
  test.fail_without_changes:
    - comment: {{ (("dcgm:hosts:monitoring: '" ~ dcgm.hosts.monitoring ~ "' does not match this minion, " ~ grains.id)
        if dcgm.grafana.enabled else "dcgm:grafana:enabled is false") | tojson }}
