"""README is followed word for word on a site that runs a Prometheus, and then removed: nothing is left."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
import site_prometheus
import yaml
from product import LONG, NODES, Cluster

from superpod.lab import Lab
from superpod.lab.deployment import put, up
from superpod.lab.layout import HEAD
from tests import disks, readme

BLOCKS = [block for block in readme.read() if block.kind in ("run on", "output", "write", "add to")]
SECTIONS = list(dict.fromkeys(block.section for block in BLOCKS))
REMOVE = "Remove"
# What may be different afterwards, and why.
ALLOWED = {
    "*:/var/log": "logs",
    "*:/var/cache/salt": "what Salt remembers; none of our modules is left in it, see below",
    "*:/etc/salt/minion.d/_schedule.conf": "Salt writes it when a minion starts",
    "*:/etc/*-": "copies that useradd and userdel make of passwd, group, shadow and gshadow",
    "*:/etc/systemd/system/timers.target.wants": "systemctl disable removes it once it is empty",
    "*:/var/tmp/systemd-private-*": "of services that run",
    "*:/var/lib/systemd": "what systemd remembers of timers and of the clock",
    "*:/var/spool/slurm*": "Slurm's own state",
    "bcm-01:/var/lib/lab-cmd": "state of BCM's stand-in, which made a certificate",
    "bcm-01:/var/lib/prometheus": "data of the site's Prometheus",
}
# Modules and files of ours in Salt's caches; not copies of states, which Salt never removes.
CACHED = "find /var/cache/salt/*/extmods -type f ! -name '*.pyc' 2>/dev/null || true"

VARIABLE = re.compile(r"[A-Z]+='[^']*'$")


class Tour:
    """README's sections, each of them followed once and in order."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.done: list[str] = []
        self.printed = ""
        # In README a variable is set once, for all that is typed into the same shell later.
        self._variables = ""

    def follow(self, section: str) -> None:
        """Do what a section says, after all before it."""
        for name in SECTIONS[len(self.done) : SECTIONS.index(section) + 1]:
            # A section that failed is not tried again: what comes after it fails as well.
            assert self.done == SECTIONS[: SECTIONS.index(name)], f"{SECTIONS[len(self.done)]} failed"
            began = time.monotonic()
            for block in BLOCKS:
                if block.section == name:
                    self._timed(block)
            self.done.append(name)
            self.lab.progress(f"README, {name}: {time.monotonic() - began:.1f} s")

    def _timed(self, block: readme.Block) -> None:
        began = time.monotonic()
        self._do(block)
        if (seconds := time.monotonic() - began) > LONG:
            self.lab.progress(f"README, line {block.line}: {seconds:.1f} s")

    def _do(self, block: readme.Block) -> None:
        if block.kind == "run on":
            self.printed = self._run(block)
        elif block.kind == "output":
            assert readme.printed(block.text, self.printed) == [], f"README, line {block.line}:\n{self.printed}"
        else:
            machine, _, path = block.about.partition(":")
            assert machine == HEAD, block
            put(self.lab, path, block.text if block.kind == "write" else self._merged(path, block.text))

    def _run(self, block: readme.Block) -> str:
        machine, _, user = block.about.partition(" as ")
        argv = ["bash", "-e", "-o", "pipefail", "-c", f"exec 2>&1; cd\n{self._variables}{block.text}"]
        self._variables += "".join(f"{line}\n" for line in block.text.splitlines() if VARIABLE.match(line))
        done = self.lab.exec(machine, ["runuser", "-u", user, "--", *argv] if user else argv)
        assert done.returncode == 0, f"README, line {block.line}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def _merged(self, path: str, text: str) -> str:
        there = yaml.safe_load(self.lab.exec(HEAD, ["cat", path], check=True).stdout)
        return yaml.safe_dump(merge(there, yaml.safe_load(text)), sort_keys=False)


def merge(there: object, added: object) -> object:
    """Return a mapping with what is added at every depth."""
    if not isinstance(there, dict) or not isinstance(added, dict):
        return added
    return {**there, **{key: merge(there[key], value) if key in there else value for key, value in added.items()}}


@pytest.fixture(scope="module")
def lab(new_lab: Callable[[str], Lab]) -> Lab:
    """A lab in which nothing of this project is configured, and a Prometheus that is the site's."""
    bare = new_lab("readme")
    up(bare, bare=True)
    site_prometheus.start(bare)
    return bare


@pytest.fixture(scope="module")
def before(lab: Lab) -> dict[str, disks.Disk]:
    return disks.disks(lab)


@pytest.fixture(scope="module")
def theirs(lab: Lab) -> str:
    return site_prometheus.identity(lab)


@pytest.fixture(scope="module")
def tour(lab: Lab, before: dict[str, disks.Disk], theirs: str) -> Tour:
    return Tour(lab)


@pytest.mark.parametrize("section", SECTIONS[: SECTIONS.index("Prometheus")])
def test_a_section_can_be_followed_word_for_word(tour: Tour, section: str) -> None:
    tour.follow(section)


def test_the_sites_prometheus_was_not_touched(tour: Tour, lab: Lab, theirs: str) -> None:
    tour.follow(SECTIONS[SECTIONS.index("Prometheus") - 1])
    assert site_prometheus.identity(lab) == theirs


def test_the_sites_prometheus_scrapes_the_nodes_when_its_administrator_says_so(tour: Tour, lab: Lab) -> None:
    tour.follow("Prometheus")
    cluster = Cluster(lab)
    for node in NODES:
        cluster.wait(f"{node} is up in Prometheus", lambda node=node: cluster.up(node))
    assert lab.prometheus("site:up")


def test_the_rest_can_be_followed_too(tour: Tour) -> None:
    tour.follow(SECTIONS[-1])


def test_removed_by_readmes_words_it_leaves_nothing(
    tour: Tour, lab: Lab, before: dict[str, disks.Disk], theirs: str
) -> None:
    tour.follow(REMOVE)
    # "Take our line out of your Prometheus' configuration."
    put(lab, site_prometheus.CONFIG, site_prometheus.FILES[site_prometheus.CONFIG])
    assert disks.differences(before, disks.disks(lab), ALLOWED) == {}
    assert site_prometheus.identity(lab) == theirs
    for machine in lab.machines:
        assert lab.exec(machine, ["systemctl", "--failed", "--no-legend"]).stdout == ""
        units = lab.exec(machine, ["systemctl", "list-units", "--all", "--no-legend"], check=True).stdout
        assert set(re.findall(r"\S*(?:dcgm|superpod)\S*\.(?:service|timer)", units)) <= {"nvidia-dcgm.service"}
        assert lab.exec(machine, ["bash", "-c", CACHED], check=True).stdout == ""
        assert "dcgm" not in lab.exec(machine, ["ls", "/run"], check=True).stdout
