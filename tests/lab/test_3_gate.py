"""What a node showed just before decides whether a release goes back; what it lost by a reload comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from product import FOLLOWING, Applied, Cluster

pytestmark = pytest.mark.usefixtures("deployed")
NODE, RELEASE = "dgx-01", "4.5.3-4.8.2"
COUNTERS = "/etc/dcgm-exporter/default-counters.csv"
# As whoever copies an image does: the same file in its own place, of another date. A new date alone is not noticed.
TOUCH = f"sleep 8; touch {COUNTERS}; cp -P {COUNTERS} {COUNTERS}.new; mv -T {COUNTERS}.new {COUNTERS}"
CHECKING = "Check that this node can run dcgm-exporter"
# Takes the last GPU out of what the host engine finds; the device table keeps it.
KILL = """python3 - <<'END' && systemctl restart nvidia-dcgm
import json
with open("/etc/lab/gpus.json") as stream:
    found = json.load(stream)
print(found["gpus"].pop()["uuid"])
with open("/etc/lab/gpus.json", "w") as stream:
    json.dump(found, stream)
END"""


def gpus(cluster: Cluster) -> set[str]:
    """Return the UUIDs of GPUs that have rows; none where /metrics does not answer."""
    status, text = cluster.lab.http(f"http://{NODE}:9400/metrics")
    return set(re.findall(r'UUID="(GPU-[^"]+)"', text)) if status == 200 else set()


def profiled(cluster: Cluster) -> bool:
    status, text = cluster.lab.http(f"http://{NODE}:9400/metrics")
    return status == 200 and "\nDCGM_FI_PROF_" in text


def health(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.lab.salt(NODE, "bcm.health")[0][NODE]
    return found


def apply(cluster: Cluster, **exporter: Any) -> Applied:
    # Prometheus has to ask as often as the exporter measures.
    scrape = {"scrape_interval": f"{exporter['interval'] // 1000}s"} if "interval" in exporter else {}
    return cluster.apply(NODE, pillar={"dcgm": {"exporter": {"start_timeout": 10, **exporter}, "prometheus": scrape}})


@pytest.fixture
def dead(cluster: Cluster) -> Iterator[str]:
    """A node whose last GPU is dead; gives its UUID."""
    whole = cluster.wait("all GPUs have rows", lambda: gpus(cluster))
    before = cluster.shell(NODE, "base64 -w0 /etc/lab/gpus.json")
    uuid = cluster.shell(NODE, KILL)
    try:
        cluster.wait("it has no row", lambda: gpus(cluster) == whole - {uuid})
        yield uuid
    finally:
        cluster.shell(NODE, f"echo {before} | base64 -d > /etc/lab/gpus.json; systemctl restart nvidia-dcgm")
        cluster.wait("all GPUs are back", lambda: gpus(cluster) == whole)


def test_a_node_with_a_dead_gpu_keeps_the_new_release_and_tells_of_it(
    cluster: Cluster, dead: str, offered: Callable[..., None]
) -> None:
    offered("9.9.1-9.9.1", ":")
    applied = apply(cluster, release="9.9.1-9.9.1", method="artifact")
    applied.succeeded()
    assert cluster.release(NODE) == "9.9.1-9.9.1"
    assert any(dead in warning for warning in applied.states(NODE)[FOLLOWING]["warnings"])
    assert any(dead in text for text in health(cluster)["shortages"])
    status = json.loads(cluster.shell("head", "salt-run bcm.status ask=True --out=json 2>/dev/null || true"))
    assert dead in status["nodes"][NODE]["problem"]


def test_a_release_that_shows_fewer_gpus_than_before_is_taken_back(
    cluster: Cluster, offered: Callable[..., None]
) -> None:
    before = cluster.wait("all GPUs have rows", lambda: gpus(cluster))
    offered("9.9.2-9.9.2", "export DCGM_EXPORTER_DEVICES_STR=g:0-6")
    applied = apply(cluster, release="9.9.2-9.9.2", method="artifact")
    reason = applied.failed(NODE)[FOLLOWING]
    assert re.search(r"dcgm-exporter 9.9.2-9.9.2: /metrics has no row of GPU-\S+ any more", reason)
    assert f"Release {RELEASE} and its configuration were put back and answer" in reason
    assert (cluster.release(NODE), gpus(cluster)) == (RELEASE, before)


def test_what_a_wrong_counters_file_does_is_told_in_the_exporters_own_words(
    cluster: Cluster, offered: Callable[..., None]
) -> None:
    broken = "sed 's/^DCGM_FI_DEV_GPU_UTIL/DCGM_FI_DEV_NO_SUCH/' $DCGM_EXPORTER_COLLECTORS > /tmp/wrong.csv"
    offered("9.9.3-9.9.3", f"{broken}; export DCGM_EXPORTER_COLLECTORS=/tmp/wrong.csv")
    reason = apply(cluster, release="9.9.3-9.9.3", method="artifact").failed(NODE)[FOLLOWING]
    first, *rest = reason.split(". ")
    assert first.startswith("dcgm-exporter 9.9.3-9.9.3: It says: ") and "DCGM_FI_DEV_NO_SUCH" in first
    assert "level=" not in first and "were put back and answer" in ". ".join(rest)


def test_counters_that_somebody_touched_cost_profiling_rows_which_the_next_audit_brings_back(
    cluster: Cluster,
) -> None:
    cluster.wait("it has run for a while", lambda: profiled(cluster) and health(cluster)["profiling_lost"] is False)
    cluster.shell(NODE, TOUCH)
    cluster.wait("they are lost", lambda: not profiled(cluster))
    cluster.wait("it is known", lambda: health(cluster)["profiling_lost"])
    (told,) = health(cluster)["shortages"]
    assert "has lost its DCGM_FI_PROF_ rows since it started" in told and "was changed since" in told
    before = cluster.started(NODE)
    # What the engine does at each audit, of which the next is up to 15 minutes away.
    news = cluster.shell("head", "salt-run bcm.audit --out=json 2>/dev/null")
    assert json.loads(news)["strayed"] == [NODE]
    cluster.lab.exec("head", ["salt-run", "bcm.poll", f"news={json.dumps(json.loads(news))}"], check=True)
    cluster.wait("they are back", lambda: profiled(cluster), 120)
    assert cluster.started(NODE) != before
    cluster.wait("nothing is odd", lambda: health(cluster)["shortages"] == [])


def test_an_apply_brings_them_back_too_and_a_second_one_changes_nothing(cluster: Cluster) -> None:
    cluster.wait("it shows them", lambda: profiled(cluster))
    cluster.shell(NODE, TOUCH)
    cluster.wait("they are lost", lambda: not profiled(cluster))
    applied = cluster.apply(NODE)
    applied.succeeded()
    assert applied.changed(NODE) == {FOLLOWING}
    assert profiled(cluster)
    assert cluster.apply(NODE).changed(NODE) == set()


def test_counters_that_a_hand_edited_are_told_and_put_back(cluster: Cluster) -> None:
    cluster.shell(NODE, f"sed -i --follow-symlinks /DCGM_FI_PROF_/d {COUNTERS}")
    assert [COUNTERS in text for text in health(cluster)["lacking"]] == [True]
    cluster.apply(NODE).succeeded()
    assert health(cluster)["lacking"] == []
    assert profiled(cluster)


LACKS = {
    "libdcgm": ("dcgm off", "dcgm on", RELEASE, "needs libdcgm.so.4 on this node, also where the host engine"),
    "another libdcgm": ("dcgm 3.3.9", "dcgm on", RELEASE, "`ldconfig -p` lists only libdcgm.so.3: install DCGM 4"),
    "NVML": ("driver off", "driver on", "4.4.2-4.7.1", "needs NVML at every start, and"),
}


@pytest.mark.parametrize(("off", "on", "release", "words"), LACKS.values(), ids=LACKS.keys())
def test_what_a_node_lacks_is_told_before_the_release_is_switched(
    cluster: Cluster, offered: Callable[..., None], off: str, on: str, release: str, words: str
) -> None:
    if release != RELEASE:
        offered(release, ":")
    before = (cluster.release(NODE), cluster.shell(NODE, "cat /etc/dcgm-exporter/exporter.env"))
    cluster.shell(NODE, f"lab-gpus {off}")
    try:
        applied = apply(cluster, release=release, method="artifact", interval=3000)
        after = (cluster.release(NODE), cluster.shell(NODE, "cat /etc/dcgm-exporter/exporter.env"))
    finally:
        # It lists the GPUs once, when it starts.
        cluster.shell(NODE, f"lab-gpus {on}; systemctl restart dcgm-exporter")
        cluster.wait("the exporter answers", lambda: profiled(cluster))
    reason = applied.failed(NODE)[f"{CHECKING} {release}"]
    assert reason.startswith("Nothing of the exporter is changed on this node. ") and words in reason
    assert after == before
    cluster.apply(NODE).succeeded()


def test_an_engine_that_does_not_run_is_told_before_anything_is_changed(cluster: Cluster) -> None:
    cluster.shell(NODE, "systemctl disable --now nvidia-dcgm 2>&1")
    try:
        applied = apply(cluster, interval=3000)
    finally:
        cluster.shell(NODE, "systemctl enable --now nvidia-dcgm 2>&1")
        cluster.wait("the exporter answers", lambda: profiled(cluster))
    words = "nvidia-dcgm.service is installed but neither enabled nor running: `systemctl enable --now nvidia-dcgm`"
    assert words in applied.failed(NODE)[f"{CHECKING} {RELEASE}"]
