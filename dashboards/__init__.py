"""
Grafana dashboards, as Python that writes them: ``python -m dashboards`` makes salt/dcgm/grafana/files/*.json.

It needs grafana-foundation-sdk, which requirements-test.txt brings; nodes and masters only have the JSON.
"""
