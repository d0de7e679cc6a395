"""
What a change of roles costs: seconds until all nodes follow, and CPU of master and minions, against a whole apply.

``python benchmarks/role_change.py [NODES]`` (as root) brings a lab of that many nodes up (10), and takes it down.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from superpod.lab import Lab, deployment
from superpod.lab.layout import node_names

NAME = "benchmark"
# The master works a little all the time; it is watched so long before.
IDLE_SECONDS = 20
SETTLED_SECONDS = 5


class Meter:
    """CPU that services used since it was made, what the idle master uses taken off."""

    def __init__(self, lab: Lab, nodes: list[str]) -> None:
        self._lab, self._nodes = lab, nodes
        before, began = self._cpu("head", "salt-master"), time.monotonic()
        time.sleep(IDLE_SECONDS)
        self._idle = (self._cpu("head", "salt-master") - before) / (time.monotonic() - began)
        self._began, self._master = time.monotonic(), self._cpu("head", "salt-master")
        self._minions = {node: self._cpu(node, "salt-minion") for node in nodes}

    def _cpu(self, machine: str, unit: str) -> float:
        shown = self._lab.exec(machine, ["systemctl", "show", unit, "-p", "CPUUsageNSec", "--value"], check=True)
        return int(shown.stdout) / 1e9

    def used(self) -> str:
        time.sleep(SETTLED_SECONDS)
        seconds = time.monotonic() - self._began
        master = (self._cpu("head", "salt-master") - self._master - self._idle * seconds) / len(self._nodes)
        minions = sorted(self._cpu(node, "salt-minion") - self._minions[node] for node in self._nodes)
        return (
            f"CPU per node: master {master:.3f} s, minion {minions[len(minions) // 2]:.2f} s (most {minions[-1]:.2f})"
        )


def active(lab: Lab, node: str) -> bool:
    return lab.exec(node, ["systemctl", "is-active", "--quiet", "dcgm-exporter"]).returncode == 0


def settled(lab: Lab) -> bool:
    found = json.loads(lab.exec("head", ["cat", "/var/lib/superpod-dcgm/snapshot.json"], check=True).stdout)
    return not (found["tries"] or found["started"] or found["repairs"])


def until(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    deployment.wait_until("the nodes follow", condition, 300, 0.2)
    return time.monotonic() - began


def change(lab: Lab, nodes: list[str], sign: str) -> str:
    wanted = sign == "+"
    meter = Meter(lab, nodes)
    # As cmsh commits: all at once.
    lab.exec("head", ["lab-cmd", "roles", ",".join(nodes), f"{sign}slurmclient"], check=True)
    # The watcher polls every two seconds: the wait for the poll is in it.
    seconds = until(lambda: all(active(lab, node) is wanted for node in nodes))
    until(lambda: settled(lab))
    return f"role {'comes' if wanted else 'goes'}: all {len(nodes)} follow in {seconds:.1f} s; {meter.used()}"


def apply(lab: Lab, nodes: list[str]) -> str:
    meter, began = Meter(lab, nodes), time.monotonic()
    lab.exec("head", ["salt", "dgx-*", "state.apply", "--out=quiet"], check=True)
    return f"a whole apply: {time.monotonic() - began:.1f} s; {meter.used()}"


def main(count: int) -> None:
    lab = Lab(NAME, print, Path(tempfile.mkdtemp()) / "log")
    nodes = node_names(count)
    try:
        deployment.up(lab, nodes=count)
        until(lambda: settled(lab))
        for sign in ("-", "+", "-", "+"):
            print(change(lab, nodes, sign), flush=True)
        print(apply(lab, nodes), flush=True)
    finally:
        lab.down()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
