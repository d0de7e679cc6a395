"""What tests of Prometheus share: the lab's pillar with other keys, and applying and asking on the head."""

from __future__ import annotations

import json
from typing import Any

import yaml
from product import Cluster

from superpod.lab.deployment import CONFIG, render
from superpod.lab.layout import HEAD

OURS = "superpod-prometheus.service"
OUR_JOBS = {"superpod-dcgm-exporter", "superpod-dcgm", "superpod-dcgm-head"}


class Pillar:
    """The pillar of the lab, of which a test sets keys of sections; what is not given is as the lab has it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.original = render((CONFIG / "pillar/dcgm.sls").read_text(), cluster.lab.record)

    def set(self, **sections: dict[str, Any]) -> None:
        """Write the pillar with these keys over the lab's."""
        found = yaml.safe_load(self.original)
        for section, keys in sections.items():
            found["dcgm"].setdefault(section, {}).update(keys)
        self._write(json.dumps(found))

    def restore(self) -> None:
        """Write the lab's own."""
        self._write(self.original)

    def _write(self, text: str) -> None:
        self.cluster.lab.exec("head", ["tee", "/srv/pillar/dcgm.sls"], check=True, input=text)


def apply(cluster: Cluster, sls: str = "dcgm.prometheus", **options: Any) -> tuple[list[dict[str, Any]], int]:
    """Apply states to the head; return what each said, and the exit code."""
    arguments = [f"{name}={value}" for name, value in options.items()]
    answers, code = cluster.lab.salt(HEAD, "state.apply", sls, *arguments)
    assert isinstance(answers[HEAD], dict), answers
    return list(answers[HEAD].values()), code


def jobs(cluster: Cluster, port: int) -> set[str]:
    """Return the jobs of the Prometheus on a port of the head."""
    status, body = cluster.lab.http(f"http://head:{port}/api/v1/status/config")
    found = yaml.safe_load(json.loads(body)["data"]["yaml"]) if status == 200 else {}
    return {job["job_name"] for job in found.get("scrape_configs", [])}


def changed(steps: list[dict[str, Any]]) -> list[str]:
    """Return the ids of the states that changed something."""
    return [step["__id__"] for step in steps if step["changes"]]


def failed(steps: list[dict[str, Any]]) -> list[str]:
    """Return what the states said that failed by themselves."""
    return [step["comment"] for step in steps if step["result"] is False and "requisite" not in step["comment"]]
