"""A node goes on to the second metric schema while a job runs: records, alerts and vmalert say the same as before."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import victoria
from click.testing import CliRunner
from own_prometheus import Pillar, apply, changed, failed
from product import FOLLOWING, NODES, Applied, Cluster

from superpod.cli import main
from superpod.errors import SuperpodError

pytestmark = pytest.mark.usefixtures("deployed")
OLD_NODE, NEW_NODE = NODES
RELEASE = "4.9.0"
EXTENDED = {"counters": "extended"}
FIELDS = "/usr/lib/lab/fields.json"
# Value by the number of a field, and the alerts that read it: each row has another name in the second schema, or stands
# beside one that has.
ILL = {140: 99, 153: 3, 346: 1, 395: 1, 396: 1, 1523: 1}
ILL_ALERTS = {
    *("SuperpodGpuMemoryHot", "SuperpodGpuHot", "SuperpodGpuMemoryBad", "SuperpodGpuRemapFailed"),
    *("SuperpodGpuRemapPending", "SuperpodGpuRecoveryUrgent"),
}
# That a node has another release than the fleet is so.
OF_ROLLOUT = "SuperpodReleaseDiffers"
RECORDS = '{__name__=~"[^:]+:[^:]+:[^:]+"}'
# Both sides are up to two samples apart, of a minute; all else stands still.
APART = {"energy": 0.15}
OF_JOB = {
    *("job:gpus_allocated:sum", "job:utilization_ratio:avg", "job:memory_used_bytes:sum", "job:power_watts:sum"),
    "job:energy_joules:increase1m",
}
OLD_NAMES = "DCGM_FI_DEV_GPU_TEMP, gauge, x\nDCGM_FI_DEV_POWER_USAGE, gauge, x\nDCGM_FI_DEV_FB_USED, gauge, x\n"

Found = dict[tuple[str, ...], float]


def rest(cluster: Cluster, node: str, fields: dict[str, Any]) -> None:
    """Have a node's GPUs show these fields; its exporter is there again afterwards."""
    cluster.lab.exec(node, ["tee", FIELDS], check=True, input=f"{json.dumps(fields, indent=1)}\n")
    cluster.shell(node, "systemctl restart nvidia-dcgm; systemctl restart dcgm-exporter")
    cluster.wait(f"{node} is scraped", lambda: cluster.up(node))


def ill(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields that stand still, so that nodes and schemas can be compared at any moment, some of them ill."""
    found = {name: {**wave, **_still(wave)} for name, wave in fields.items()}
    known = {wave["number"] for wave in fields.values()}
    more = {f"LAB_{number}": {"number": number, "low": ILL[number], "high": ILL[number]} for number in ILL}
    return {**found, **{name: wave for name, wave in more.items() if wave["number"] not in known}}


def _still(wave: dict[str, Any]) -> dict[str, Any]:
    value = ILL.get(wave["number"], (wave.get("low", 0) + wave.get("high", 0)) / 2)
    return {"low": value, "high": value}


def active(rows: list[dict[str, str]], node: str) -> set[tuple[str, ...]]:
    """Return name and GPU of a node's alerts, pending ones as well."""
    names = ("alertname", "gpu")
    found = {tuple(row.get(name, "") for name in names) for row in rows if row.get("host") == node}
    return {one for one in found if one[0] != OF_ROLLOUT}


def end_jobs(cluster: Cluster) -> None:
    cluster.shell("head", "scancel --user alice")
    cluster.wait("no job is left", lambda: not cluster.shell("head", "squeue --noheader"))


class Fleet:
    """Two nodes, a job on each."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        end_jobs(cluster)
        self.jobs = {node: cluster.lab.run_job(2, 3600, node) for node in NODES}
        cluster.wait("the jobs run", lambda: all(map(cluster.running, self.jobs.values())))
        held = {node: sorted(gpu for _, gpu in cluster.allocated(job)) for node, job in self.jobs.items()}
        self.places = {node: {gpu: f"GPU {place} of the job" for place, gpu in enumerate(held[node])} for node in held}

    def of_node(self, rows: list[dict[str, Any]], node: str) -> Found:
        """Return what was recorded of a node and its job by name, GPU and user; the GPUs of a job are counted."""
        found = {}
        for row in rows:
            labels = row["metric"]
            ours = labels.get("hpc_job", str(self.jobs[node])) == str(self.jobs[node])
            if labels.get("host", node) == node and ours and ("host" in labels or "hpc_job" in labels):
                gpu = labels.get("gpu", "")
                place = self.places[node][gpu] if labels["__name__"].startswith("gpu_job:") else gpu
                found[labels["__name__"], place, labels.get("user", "")] = float(row["value"][1])
        return found

    def alerts(self, node: str) -> set[tuple[str, ...]]:
        """Return the alerts of a node in Prometheus."""
        return active([row["metric"] for row in self.cluster.lab.prometheus("ALERTS")], node)


def differences(one: Found, other: Found) -> list[str]:
    """Return where two sets of records differ, in a line each."""
    lines = [f"{key}: in one only" for key in sorted(one.keys() ^ other.keys())]
    for key in sorted(one.keys() & other.keys()):
        off = next((part for word, part in APART.items() if word in key[0]), 1e-6)
        if abs(one[key] - other[key]) > off * max(abs(one[key]), 1e-9):
            lines.append(f"{key}: {one[key]}, {other[key]}")
    return lines


def agree(cluster: Cluster, what: str, ask: Callable[[], list[str]], seconds: float = 360) -> None:
    """Wait until there is no difference; fail with all of them."""
    with contextlib.suppress(SuperpodError):
        cluster.wait(what, lambda: not ask(), seconds)
    assert ask() == []


@pytest.fixture(scope="module")
def pillar(cluster: Cluster) -> Iterator[Pillar]:
    """The lab's pillar, by which VictoriaMetrics gets what Prometheus scrapes; all is as it was afterwards."""
    found = Pillar(cluster)
    found.set(exporter=EXTENDED, prometheus=victoria.FEED)
    try:
        assert failed(apply(cluster)[0]) == []
        cluster.shell("head", victoria.START)
        cluster.apply("dgx-*").succeeded()
        yield found
    finally:
        found.restore()
        cluster.apply("dgx-*").succeeded()
        assert failed(apply(cluster)[0]) == []
        cluster.shell("head", victoria.STOP)


@pytest.fixture(scope="module")
def fleet(cluster: Cluster, pillar: Pillar) -> Iterator[Fleet]:
    """Two nodes whose GPUs stand still and are ill in the same way, with a job each."""
    fields = json.loads(cluster.shell(OLD_NODE, f"cat {FIELDS}"))
    original = {node: cluster.shell(node, f"cp -a {FIELDS} /root/fields.json; cat {FIELDS}") for node in NODES}
    assert len(set(original.values())) == 1
    try:
        for node in NODES:
            rest(cluster, node, ill(fields))
        found = Fleet(cluster)
        agree(cluster, "alerts of what is ill", lambda: sorted(ILL_ALERTS - {one[0] for one in found.alerts(NEW_NODE)}))
        yield found
    finally:
        end_jobs(cluster)
        for node in NODES:
            rest(cluster, node, fields)
            cluster.shell(node, f"mv /root/fields.json {FIELDS}")


def upgrade(cluster: Cluster, **more: str) -> Applied:
    """Apply the release, with further keys of the section exporter."""
    repository = "/cm/shared/lab/upstream/dcgm-exporter.git"
    commit = cluster.shell("head", f"git -C {repository} rev-parse '{RELEASE}^{{commit}}'")
    return cluster.apply(NEW_NODE, pillar={"dcgm": {"exporter": {"release": RELEASE, "commit": commit, **more}}})


@pytest.fixture(scope="module")
def upgraded(cluster: Cluster, fleet: Fleet) -> Iterator[Applied]:
    """One of the nodes has a release of the second schema; gives what the states said of it."""
    before = cluster.release(NEW_NODE)
    try:
        yield upgrade(cluster)
    finally:
        cluster.apply(NEW_NODE).succeeded()
        assert cluster.release(NEW_NODE) == before
        cluster.shell(NEW_NODE, f"rm -rf /opt/dcgm-exporter/{RELEASE}")
        cluster.shell("head", f"rm -r /cm/shared/apps/dcgm-exporter/artifacts/{RELEASE}")


def test_the_job_goes_on_and_nothing_is_odd_with_the_page(cluster: Cluster, fleet: Fleet, upgraded: Applied) -> None:
    upgraded.succeeded()
    following = upgraded.states(NEW_NODE)[FOLLOWING]
    assert following["changes"]["release"]["new"] == RELEASE
    assert not following.get("warnings")
    job = fleet.jobs[NEW_NODE]
    assert cluster.running(job)
    page = cluster.metrics(NEW_NODE)
    labelled = set(re.findall(rf'^DCGM_FI_DEV_FB_USED_BYTES{{gpu="(\d)".*hpc_job="{job}"', page, re.MULTILINE))
    assert {(NEW_NODE, gpu) for gpu in labelled} == cluster.allocated(job)
    assert "DCGM_FI_DEV_FB_USED{" not in page
    (health,) = cluster.lab.salt(NEW_NODE, "bcm.health")[0].values()
    assert (health["release"], health["right"], health["shortages"]) == (RELEASE, True, [])


def test_records_are_the_same_in_both_schemas(cluster: Cluster, fleet: Fleet, upgraded: Applied) -> None:
    def ask() -> list[str]:
        rows = cluster.lab.prometheus(RECORDS)
        old, new = (fleet.of_node(rows, node) for node in NODES)
        # A job's first minute is measured with the second.
        return [f"{name}: nowhere" for name in OF_JOB - {key[0] for key in new}] or differences(old, new)

    agree(cluster, "records of both nodes agree", ask)
    # The minute in which the counter became another, in other units, is no leap.
    energy = f'node:energy_joules:increase1m{{host="{NEW_NODE}"}}'
    (leap,) = cluster.lab.prometheus(f"max_over_time({energy}[5m]) / min_over_time({energy}[5m])")
    assert float(leap["value"][1]) < 3


def test_alerts_stay_as_they_were(cluster: Cluster, fleet: Fleet, upgraded: Applied) -> None:
    def ask() -> list[str]:
        return sorted(map(str, fleet.alerts(OLD_NODE) ^ fleet.alerts(NEW_NODE)))

    agree(cluster, "alerts of both nodes agree", ask)
    assert {one[0] for one in fleet.alerts(NEW_NODE)} >= ILL_ALERTS
    status, body = cluster.lab.http("http://head:9090/api/v1/rules?type=alert")
    groups = json.loads(body)["data"]["groups"]
    assert status == 200 and [rule for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []
    # Whatever began to fire meanwhile was ill.
    firing = f'ALERTS{{alertstate="firing",host="{NEW_NODE}"}}'
    fired = cluster.lab.prometheus(f"count by (alertname) (max_over_time({firing}[10m]))")
    assert {row["metric"]["alertname"] for row in fired} <= ILL_ALERTS | {one[0] for one in fleet.alerts(OLD_NODE)}


def test_vmalert_records_and_alerts_the_same(cluster: Cluster, fleet: Fleet, upgraded: Applied) -> None:
    def records() -> list[str]:
        ours, its = cluster.lab.prometheus(RECORDS), victoria.query(cluster, RECORDS)
        return [line for node in NODES for line in differences(*(fleet.of_node(rows, node) for rows in (ours, its)))]

    def alerts() -> list[str]:
        found = victoria.alerts(cluster)
        return sorted(str(one) for node in NODES for one in active(found, node) ^ fleet.alerts(node))

    agree(cluster, "vmalert records what Prometheus records", records)
    agree(cluster, "vmalert has the alerts of Prometheus", alerts)
    assert [rule for rule in victoria.rules(cluster) if rule["health"] != "ok"] == []


def told(cluster: Cluster, job: int) -> dict[str, Any]:
    """Return what `superpod job` says of a job, asked from this machine."""
    words = ["job", str(job), "--json", "--no-slurm", "--prometheus", cluster.lab.prometheus_address()]
    answer = CliRunner().invoke(main, words, env={"SUPERPOD_CONFIG": "/dev/null"})
    assert answer.exit_code in (0, 3), answer.output
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def test_reports_of_both_jobs_say_what_is_recorded(cluster: Cluster, fleet: Fleet, upgraded: Applied) -> None:
    reports = {node: told(cluster, job) for node, job in fleet.jobs.items()}
    for node, found in reports.items():
        mine = f'hpc_job="{fleet.jobs[node]}"'
        rows = cluster.lab.prometheus(
            f'{{__name__=~"job:(power_watts|memory_used_bytes):sum|job:.*_ratio:avg",{mine}}}'
        )
        now = {row["metric"]["__name__"]: float(row["value"][1]) for row in rows}
        assert found["power_watts"]["mean"] == pytest.approx(now["job:power_watts:sum"])
        assert found["memory_bytes"]["peak"] == pytest.approx(now["job:memory_used_bytes:sum"])
        assert found["utilization_ratio"]["mean"] == pytest.approx(now["job:utilization_ratio:avg"])
        (energy,) = cluster.lab.prometheus(f"sum_over_time(job:energy_joules:increase1m{{{mine}}}[2h])")
        # A minute may have passed between the two.
        minutes = 60 * 2 * found["power_watts"]["mean"]
        assert found["energy_joules"] == pytest.approx(float(energy["value"][1]), abs=minutes)
    old, new = (reports[node] for node in NODES)
    for name in ("power_watts", "memory_bytes", "utilization_ratio", "gpus"):
        assert old[name] == pytest.approx(new[name])


def test_prometheus_needs_nothing_for_it(cluster: Cluster, upgraded: Applied) -> None:
    steps, code = apply(cluster)
    assert (failed(steps), changed(steps), code) == ([], [], 0)


def test_names_of_the_other_schema_are_told(cluster: Cluster, upgraded: Applied) -> None:
    cluster.lab.exec(NEW_NODE, ["tee", "/root/site.csv"], check=True, input=OLD_NAMES)
    try:
        applied = upgrade(cluster, counters="/root/site.csv")
    finally:
        cluster.shell(NEW_NODE, "rm /root/site.csv")
    sentence = f"/metrics is not as dcgm-exporter {RELEASE} should have it: it shows metric schema 1"
    assert any(sentence in text for text in applied.states(NEW_NODE)[FOLLOWING]["warnings"])
    (health,) = cluster.lab.salt(NEW_NODE, "bcm.health")[0].values()
    assert any(sentence in text for text in health["shortages"])
