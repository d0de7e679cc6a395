"""The lab for tests: one lab per process that runs tests, and what to do where no lab can run."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import former
import pytest
import spared
from product import Cluster

from superpod.lab import Lab, deployment, preflight
from superpod.lab.layout import cache_dir
from tests import progress
from tests.groups import group
from tests.left_out import leave_out

HERE = Path(__file__).resolve().parent
UPSTREAM = "SUPERPOD_UPSTREAM"


def why_not() -> str | None:
    """Why tests that need the lab are not run here, or None."""
    if os.environ.get("SUPERPOD_TEST_FAST"):
        return "left out by --fast"
    found = preflight.reasons()
    return found[0] if found else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Where no repository of NVIDIA's is named, in CI too: what it says is in docs/upstream.md.
    if not os.environ.get(UPSTREAM):
        of_upstream = [item for item in items if item.path.name == "test_8_true_exporter.py"]
        leave_out(config, items, f"{UPSTREAM} names no repository of NVIDIA/dcgm-exporter", of_upstream)
    needing = [item for item in items if HERE in item.path.parents]
    reason = why_not() if needing else None
    if reason is None:
        needing = [item for item in needing if item.path.name == "test_6_upgrade.py"]
        reason = former.why_not() if needing else None
    if reason is None or (os.environ.get("CI") == "true" and not os.environ.get("SUPERPOD_TEST_FAST")):
        return
    leave_out(config, items, reason, needing)


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Print a line of progress past pytest's capturing."""
    began = time.time()
    # Two labs at once would not know whose line it is.
    worker = hasattr(pytestconfig, "workerinput")

    def line(message: str) -> None:
        where = f"{group(os.environ['PYTEST_CURRENT_TEST'])}: " if worker else ""
        progress.say(pytestconfig, began, f"{where}{message}")

    return line


@pytest.fixture(scope="session")
def wait_until(say: Callable[[str], None]) -> Callable[..., Any]:
    """Ask until the answer is true; says how long it took, fails with what was waited for."""

    def wait(what: str, condition: Callable[[], Any], timeout: float = 60, every: float = 0.3) -> Any:
        started = time.monotonic()
        answer = deployment.wait_until(what, condition, timeout, every)
        say(f"{what}: after {time.monotonic() - started:.1f} s")
        return answer

    return wait


def _alone(lock: IO[str]) -> bool:
    """True if no other session of tests uses these names on this machine; a second one has to use others."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@pytest.fixture(scope="session")
def new_lab(say: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Lab]]:
    """Return a function that gives a lab of a name, which is down at first and taken down at the end of the session."""
    reason = why_not()
    if reason:
        pytest.fail(f"This machine cannot run the lab: {reason}")
    made: list[Lab] = []
    cache_dir().mkdir(parents=True, exist_ok=True)
    # Each worker process has labs of its own. The same names in every session: what a crash left is found again.
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    suffix = f"-{worker}" if worker else ""
    lock = (cache_dir() / f"tests{suffix}.lock").open("w")
    if not _alone(lock):
        suffix += f"-{os.getpid()}"

    def make(name: str) -> Lab:
        lab = Lab(name + suffix, say, tmp_path_factory.mktemp(name) / "log")
        lab.down()
        made.append(lab)
        return lab

    yield make
    lost = {}
    for lab in made:
        lost[lab.name] = spared.losses(lab)
        if not os.environ.get("SUPERPOD_TEST_KEEP_LAB"):
            lab.down()
    assert not any(lost.values()), f"Nodes were drained, or slurmd was lost: {lost}"


@pytest.fixture(scope="session")
def lab(new_lab: Callable[[str], Lab]) -> Lab:
    """The session's lab of two nodes; nobody started it yet."""
    return new_lab("test")


@pytest.fixture(scope="session")
def cluster(lab: Lab) -> Cluster:
    """The session's lab, seen through what the product promises."""
    return Cluster(lab)


@pytest.fixture(scope="module")
def deployed(lab: Lab) -> Lab:
    """The session's lab, running and deployed; what an earlier module broke is repaired."""
    deployment.up(lab, nodes=2)
    return lab


@pytest.fixture
def offered(cluster: Cluster) -> Iterator[Callable[..., None]]:
    """Return a function that stores a release: that of dgx-01, but for lines of shell before it starts."""
    made, node, now = [], "dgx-01", cluster.release("dgx-01")
    store = "/cm/shared/apps/dcgm-exporter/artifacts"

    def offer(release: str, lines: str, commit: str = "") -> None:
        folder = f"{store}/{release}/linux-amd64"
        made.append(release)
        script = f'#!/bin/sh\n{lines}\nexec /opt/dcgm-exporter/{now}/dcgm-exporter "$@"\n'
        cluster.shell("head", f"mkdir -p {folder} && cp -a {store}/{now}/linux-amd64/. {folder}")
        cluster.lab.exec("head", ["tee", f"{folder}/dcgm-exporter"], check=True, input=script)
        sums = "sha256sum dcgm-exporter default-counters.csv > SHA256SUMS"
        cluster.shell("head", f"cd {folder} && sed -i 's/{now}/{release}/' artifact.json && {sums}")
        if commit:
            cluster.shell("head", f"sed -Ei 's/[0-9a-f]{{40}}/{commit}/' {folder}/artifact.json")

    yield offer
    cluster.apply(node).succeeded()
    for release in made:
        cluster.shell("head", f"rm -r {store}/{release}")
        cluster.shell(node, f"rm -rf /opt/dcgm-exporter/{release}")
    assert cluster.release(node) == now
