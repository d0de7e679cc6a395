"""A hardened site: strict umask, BCM's check of processes outside of jobs, held connections, units that stay up."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator

import pytest
from product import UNIT, Cluster

from superpod.lab.deployment import answering

pytestmark = pytest.mark.usefixtures("deployed")
CHECK = "/cm/local/apps/cmd/scripts/healthchecks/rogueprocess"
OTHER = "4.5.2-4.8.1"
STORE = f"/cm/shared/apps/dcgm-exporter/artifacts/{OTHER}"
TEXTFILE, TIMER = "dcgm-textfile.service", "dcgm-job-map.timer"
UMASK = "/etc/systemd/system/salt-minion.service.d/umask.conf"
OURS = (
    "/opt/dcgm-exporter /etc/dcgm-exporter /usr/local/lib/superpod-dcgm-node /run/superpod-dcgm /var/lib/superpod-dcgm"
)


def restart_minion(cluster: Cluster, node: str) -> None:
    # A minion that starts beside what is left of the last one ends at once.
    left = "pgrep -f '^/opt/salt/bin/python3 /usr/bin/salt-minion' >/dev/null"
    cluster.shell(node, "systemctl daemon-reload; systemctl stop salt-minion || true")
    cluster.wait("the minion has ended", lambda: cluster.lab.exec(node, ["bash", "-c", left]).returncode == 1)
    cluster.shell(node, "systemctl start salt-minion")
    cluster.wait("the minion answers", lambda: node in answering(cluster.lab))


@pytest.fixture
def strict(cluster: Cluster) -> Iterator[str]:
    """Give a node whose minion makes files for nobody else."""
    cluster.shell("dgx-02", f"mkdir -p {UMASK.rpartition('/')[0]}; printf '[Service]\\nUMask=0077\\n' > {UMASK}")
    try:
        restart_minion(cluster, "dgx-02")
        yield "dgx-02"
    finally:
        cluster.shell("dgx-02", f"rm {UMASK}")
        restart_minion(cluster, "dgx-02")


def all_run(cluster: Cluster, node: str) -> bool:
    units = f"{UNIT} {TEXTFILE} {TIMER}"
    states = cluster.shell(node, f"systemctl is-active {units} || true; systemctl is-failed {units} || true").split()
    served = [cluster.lab.http(f"http://{node}:{port}/metrics")[0] for port in (9400, 9401)]
    return states == ["active"] * 6 and served == [200, 200]


def test_a_minion_with_a_strict_umask_deploys_what_runs(cluster: Cluster, strict: str) -> None:
    cluster.apply(strict, "dcgm.clean").succeeded()
    cluster.apply(strict).succeeded()
    cluster.wait("all runs", lambda: all_run(cluster, strict))
    closed = f"find -L {OURS} -type d ! -perm -555 ! -path '*/good*' 2>/dev/null"
    assert cluster.shell(strict, closed) == ""
    # As releases before left it.
    cluster.shell(strict, f"chmod 700 {OURS}; chmod 600 /opt/dcgm-exporter/4*/default-counters.csv")
    cluster.shell(strict, f"systemctl restart --no-block {UNIT} {TEXTFILE}")
    applied = cluster.apply(strict)
    applied.succeeded()
    cluster.wait("all runs again", lambda: all_run(cluster, strict))
    assert cluster.shell(strict, closed) == ""
    assert cluster.apply(strict).changed(strict) == set()


# Looks until it is told to stop, and for five minutes at most.
WATCH = f"""
end=$((SECONDS + 300))
while [ ! -e /tmp/watched ] && [ $SECONDS -lt $end ]; do
  {CHECK} | grep -v PASS; ps -eo user:20=,comm= | grep -E ' (go|compile|link|git|make|cgo)$'; sleep 0.2
done
"""


def test_no_process_of_ours_is_rogue_while_it_builds_and_after(cluster: Cluster) -> None:
    commit = cluster.shell("head", f"git -C /cm/shared/lab/upstream/dcgm-exporter.git rev-parse '{OTHER}^{{commit}}'")
    cluster.shell("head", f"rm -rf {STORE}")
    for machine in cluster.lab.machines:
        script = f"rm -f /tmp/watched; exec bash -c {shlex.quote(WATCH)} >/tmp/watch 2>&1"
        cluster.shell(machine, f"systemd-run --quiet --collect bash -c {shlex.quote(script)}")
    try:
        exporter = {"release": OTHER, "commit": commit}
        cluster.apply("dgx-01", "dcgm.exporter.build", pillar={"dcgm": {"exporter": exporter}}).succeeded()
        assert "rwxr-xr-x" in cluster.shell("head", f"stat -c %A {STORE}/linux-amd64 {STORE}/linux-amd64/dcgm-exporter")
    finally:
        for machine in cluster.lab.machines:
            cluster.shell(machine, "touch /tmp/watched")
        cluster.shell("head", f"rm -rf {STORE}")
    for machine in cluster.lab.machines:
        seen = set(cluster.shell(machine, "sort -u /tmp/watch").splitlines())
        assert not [line for line in seen if "uid" in line or "FAIL" in line], (machine, seen)
        assert cluster.shell(machine, f"{CHECK} || true") == "PASS"
        if machine == "dgx-01":
            words = {tuple(line.split()) for line in seen}
            # Most is compiled already: the lab's builds share a cache.
            assert {("superpod-build", "go"), ("superpod-build", "link")} <= words
            assert {user for user, _ in words} == {"superpod-build"}
    assert cluster.shell("dgx-01", "id -u superpod-build; id -u superpod-dcgm; id -u dcgm-exporter").split() == [
        *("373", "372", "371")
    ]


STOPPED_WHILE_IT_WAITS = f"""
for pause in 0 0 0 0 0 0 0 0 0 0 1; do
  systemctl start --no-block {UNIT}
  timeout 20 sh -c 'until [ "$(systemctl show -P SubState {UNIT})" = start-pre ]; do :; done' || echo it does not wait
  sleep $pause
  systemctl stop {UNIT}
  echo $(systemctl show -P ActiveState {UNIT}) $(systemctl show -P Result {UNIT})
done
"""


def test_a_role_that_goes_while_a_node_boots_leaves_no_failed_unit(cluster: Cluster) -> None:
    try:
        cluster.shell("dgx-01", f"systemctl stop {UNIT}; rm -f /run/superpod-dcgm/may-start")
        # Stopped at once too, before the waiting shell has set up anything.
        ends = cluster.shell("dgx-01", STOPPED_WHILE_IT_WAITS).split("\n")
        assert set(ends) == {"inactive success"}, ends
    finally:
        cluster.shell("dgx-01", f"touch /run/superpod-dcgm/may-start; systemctl start {UNIT}")
    for unit in ("dcgm-job-map.service", "dcgm-devices.service"):
        cluster.shell("dgx-01", f"systemctl start --no-block {unit}; sleep 0.1; systemctl stop {unit}")
        assert cluster.shell("dgx-01", f"systemctl show -P ActiveState {unit}") == "inactive"
    cluster.shell("dgx-01", "systemctl start dcgm-devices.service dcgm-job-map.service")
    cluster.wait("metrics", lambda: cluster.lab.http("http://dgx-01:9400/metrics")[0] == 200)


# Holds so many connections, always the newest, and says nothing on any.
HOLD = """
import contextlib, socket, sys, time
held = []
while True:
    if len(held) == int(sys.argv[1]):
        held.pop(0).close()
    with contextlib.suppress(OSError):
        held.append(socket.create_connection(("127.0.0.1", 9401), 5))
    if len(held) == 50:
        print("holds", flush=True)
    time.sleep(0.002)
"""


@pytest.mark.parametrize("count", [60, 500])
def test_one_user_cannot_keep_prometheus_from_the_metrics(cluster: Cluster, count: int) -> None:
    unit = f"lab-holder-{count}"
    run = f"systemd-run --quiet --unit={unit} --uid=alice python3 -c {shlex.quote(HOLD)} {count}"
    cluster.shell("dgx-01", run)
    try:
        cluster.wait("he holds", lambda: "holds" in cluster.shell("dgx-01", f"journalctl -u {unit} -o cat --no-pager"))
        slowest = 0.0
        for _ in range(10):
            begin = time.monotonic()
            assert cluster.lab.http("http://dgx-01:9401/metrics")[0] == 200
            slowest = max(slowest, time.monotonic() - begin)
        assert cluster.shell("dgx-01", f"systemctl is-active {unit}") == "active"
    finally:
        cluster.shell("dgx-01", f"systemctl stop {unit}; systemctl reset-failed {unit} 2>/dev/null || true")
    cluster.lab.progress(f"slowest of ten scrapes beside {count} connections: {slowest:.2f} s")
    assert slowest < 2


def test_a_service_that_does_not_stay_up_fails_its_state_with_the_reason(cluster: Cluster) -> None:
    cluster.shell("dgx-01", "systemd-run --quiet --unit=squatter python3 -m http.server 9501 -d /var/empty")
    try:
        applied = cluster.apply("dgx-01", "dcgm.agent", pillar={"dcgm": {"metrics": {"port": 9501}}})
    finally:
        cluster.shell("dgx-01", "systemctl stop squatter")
    assert applied.code != 0
    assert "Address already in use" in applied.failed("dgx-01")[f"Start {TEXTFILE}"]
    cluster.apply("dgx-01").succeeded()
    assert cluster.own_metrics("dgx-01")


def test_another_number_for_a_user_that_is_there_stops_everything_before_it_begins(cluster: Cluster) -> None:
    files = "sha256sum /etc/passwd /etc/dcgm-exporter/*"
    before = cluster.shell("dgx-01", files)
    pillar = {"dcgm": {"users": {"build": 398, "agent": 399}, "metrics": {"interval": 7}}}
    applied = cluster.apply("dgx-01", pillar=pillar)
    ((name, reason),) = applied.failed("dgx-01").items()
    assert name == "Create the system users"
    assert "dcgm:users:agent: 399 is not the number of the user superpod-dcgm, who is there already" in reason
    assert cluster.shell("dgx-01", files) == before
