"""VictoriaMetrics and its vmalert on the lab's head: fed by our Prometheus, with the rule files that it has."""

from __future__ import annotations

import json
from typing import Any

from product import Cluster

PORT, ALERTS_PORT = 8428, 8880
ADDRESS = f"http://127.0.0.1:{PORT}"
DATA = "/var/tmp/lab-victoria"
RULES = "/etc/superpod-prometheus/rules/superpod-dcgm-*.yml"
_RUN = "systemd-run --quiet --collect"
# What is written can be read at once, as from Prometheus; by default both wait for 30 seconds.
START = f"""
mkdir -p {DATA}
{_RUN} --unit=lab-victoria victoria-metrics -storageDataPath={DATA} -httpListenAddr=127.0.0.1:{PORT} \
  -memory.allowedBytes=64MB -search.latencyOffset=0s
{_RUN} --unit=lab-vmalert vmalert -rule='{RULES}' -datasource.url={ADDRESS} -remoteWrite.url={ADDRESS} \
  -httpListenAddr=127.0.0.1:{ALERTS_PORT} -notifier.blackhole -evaluationInterval=2s -rule.evalDelay=0s
"""
STOP = f"systemctl stop lab-vmalert lab-victoria; rm -rf {DATA}"
# Of dcgm:prometheus. What our Prometheus records is left out: vmalert shall record it.
RECORDED = {"source_labels": ["__name__"], "regex": "[^:]+:[^:]+:[^:]+|ALERTS.*", "action": "drop"}
FEED = {"remote_write": [{"url": f"{ADDRESS}/api/v1/write", "write_relabel_configs": [RECORDED]}]}


def query(cluster: Cluster, expression: str) -> list[dict[str, Any]]:
    """Return the rows of an instant query of VictoriaMetrics; none while it does not answer."""
    found = _data(
        cluster, f"{ADDRESS}/api/v1/query", "--get", "--data-urlencode", f"query={expression}", "-d", "nocache=1"
    )
    return list(found.get("result", []))


def alerts(cluster: Cluster) -> list[dict[str, str]]:
    """Return the labels of the alerts that vmalert has, pending ones as well."""
    found = _data(cluster, f"http://127.0.0.1:{ALERTS_PORT}/api/v1/alerts").get("alerts", [])
    return [{"alertname": one["name"], **one["labels"]} for one in found]


def rules(cluster: Cluster) -> list[dict[str, Any]]:
    """Return the rules that vmalert has, with what became of each."""
    groups = _data(cluster, f"http://127.0.0.1:{ALERTS_PORT}/api/v1/rules").get("groups", [])
    return [rule for group in groups for rule in group["rules"]]


def _data(cluster: Cluster, url: str, *options: str) -> dict[str, Any]:
    status, body = cluster.lab.http(url, *options)
    found: dict[str, Any] = json.loads(body)["data"] if status == 200 else {}
    return found
