"""The pillar says which metrics a node gives; a counters file that would end the exporter is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from product import UNIT, Applied, Cluster

pytestmark = pytest.mark.usefixtures("deployed")
NODE, COUNTERS = "dgx-01", "/etc/dcgm-exporter/default-counters.csv"
INSTALLING = "Install the counters of dcgm-exporter"
ADDED = ("DCGM_EXP_XID_ERRORS_COUNT", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "DCGM_FI_DEV_ENFORCED_POWER_LIMIT")


def apply(cluster: Cluster, **exporter: Any) -> Applied:
    return cluster.apply(NODE, pillar={"dcgm": {"exporter": exporter}})


@pytest.fixture
def given_back(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.apply(NODE).succeeded()
    assert cluster.shell(NODE, f"readlink {COUNTERS}") == "/opt/dcgm-exporter/current/default-counters.csv"


@pytest.mark.usefixtures("given_back")
def test_extended_counters_add_what_alerts_need_until_the_pillar_says_otherwise(cluster: Cluster) -> None:
    before = cluster.metrics(NODE)
    assert not any(name in before for name in ADDED)
    row = "DCGM_FI_PROF_SM_ACTIVE, gauge, SMs in use (ratio)."
    apply(cluster, counters="extended", counter_rows=[row]).succeeded()
    page = cluster.wait("the page has the rows", lambda: (text := cluster.metrics(NODE)).count(ADDED[0]) and text)
    assert [name for name in (*ADDED, "DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_DEV_GPU_TEMP") if name not in page] == []
    assert apply(cluster, counters="extended", counter_rows=[row]).changed(NODE) == set()


def test_a_file_that_would_end_the_exporter_is_refused_with_its_lines(cluster: Cluster) -> None:
    cluster.lab.exec(NODE, ["tee", "/root/site.csv"], check=True, input="DCGM_FI_DEV_GPU_UTL, gauge, x\nA\tB, gauge\n")
    started, content = cluster.started(NODE), cluster.shell(NODE, f"sha256sum {COUNTERS}")
    try:
        applied = apply(cluster, counters="/root/site.csv")
    finally:
        cluster.shell(NODE, "rm /root/site.csv")
    reason = applied.failed(NODE)[INSTALLING]
    assert "line 1: 'DCGM_FI_DEV_GPU_UTL' is not a name that this release knows (did you mean" in reason
    assert "line 2: it has 2 fields and must have 3" in reason
    assert (cluster.started(NODE), cluster.shell(NODE, f"sha256sum {COUNTERS}")) == (started, content)
    assert cluster.shell(NODE, f"systemctl is-active {UNIT}") == "active"
