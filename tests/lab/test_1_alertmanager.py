"""A fault on a node comes to a real Alertmanager, and from there to whoever is called; so does its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from own_prometheus import Pillar, apply, failed
from product import UNIT, Cluster

pytestmark = pytest.mark.usefixtures("deployed")
NODE, ALERT, FOLDER = "dgx-02", "SuperpodExporterDown", "/run/lab-alertmanager"
SITE = {
    "alertmanagers": ["http://localhost:9093"],
    "for": {ALERT: 2},
    "severities": {ALERT: "critical"},
    "labels": {"team": "hpc"},
    "runbooks": "https://wiki.example/runbooks#",
}
CONFIG = """\
route: {receiver: pager, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers:
  - name: pager
    webhook_configs: [{url: 'http://127.0.0.1:9095/', send_resolved: true}]
"""
# Stands in for what calls people: each notification is a line of a file.
PAGER = f"""\
from http.server import BaseHTTPRequestHandler, HTTPServer


class Pager(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open("{FOLDER}/notifications", "ab") as stream:
            stream.write(body + b"\\n")
        self.send_response(200)
        self.end_headers()


HTTPServer(("127.0.0.1", 9095), Pager).serve_forever()
"""
START = f"""
systemd-run --quiet --collect --unit=lab-pager python3 {FOLDER}/pager.py
systemd-run --quiet --collect --unit=lab-alertmanager prometheus-alertmanager --config.file={FOLDER}/config.yml \
    --storage.path={FOLDER}/data --cluster.listen-address= --web.listen-address=127.0.0.1:9093
"""


@pytest.fixture
def manager(cluster: Cluster) -> Iterator[None]:
    """An Alertmanager on the head that our Prometheus sends to, by the pillar; gone afterwards, as is the fault."""
    pillar = Pillar(cluster)
    cluster.shell("head", f"mkdir {FOLDER}; touch {FOLDER}/notifications")
    for name, text in {"config.yml": CONFIG, "pager.py": PAGER}.items():
        cluster.lab.exec("head", ["tee", f"{FOLDER}/{name}"], check=True, input=text)
    cluster.shell("head", START)
    try:
        pillar.set(alerts=SITE)
        assert failed(apply(cluster)[0]) == []
        yield
    finally:
        cluster.shell(NODE, f"systemctl start {UNIT}")
        pillar.restore()
        assert failed(apply(cluster)[0]) == []
        cluster.shell("head", f"systemctl stop lab-alertmanager lab-pager; rm -r {FOLDER}")
        cluster.wait("Prometheus scrapes the node", lambda: cluster.up(NODE))


def told(cluster: Cluster, status: str) -> list[dict[str, Any]]:
    """Return what the pager was told of the alert with this status."""
    lines = cluster.shell("head", f"cat {FOLDER}/notifications").splitlines()
    # Alertmanager ends what it sends with a line of its own.
    found = [alert for line in lines if line for alert in json.loads(line)["alerts"]]
    return [alert for alert in found if (alert["labels"]["alertname"], alert["status"]) == (ALERT, status)]


def test_a_fault_comes_to_the_alertmanager_of_the_pillar_and_so_does_its_end(cluster: Cluster, manager: None) -> None:
    assert told(cluster, "firing") == []
    cluster.shell(NODE, f"systemctl stop {UNIT}")
    (alert, *more) = cluster.wait("the alert is told", lambda: told(cluster, "firing"))
    labels = {"alertname": ALERT, "cluster": "superpod", "host": NODE, "severity": "critical", "team": "hpc"}
    assert (alert["labels"], more) == (labels, [])
    assert alert["annotations"] == {
        "summary": "A node that should run dcgm-exporter cannot be scraped.",
        "description": f"dcgm-exporter of {NODE} (superpod) does not answer.",
        "runbook_url": "https://wiki.example/runbooks#superpodexporterdown",
    }
    assert told(cluster, "resolved") == []
    cluster.shell(NODE, f"systemctl start {UNIT}")
    (over,) = cluster.wait("its end is told", lambda: told(cluster, "resolved"))
    assert (over["labels"], over["startsAt"]) == (labels, alert["startsAt"])
