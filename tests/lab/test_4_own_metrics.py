"""What this project tells of itself, in Prometheus: XIDs of a real journal, what is deployed, and the watcher."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from product import Cluster

NODE = "dgx-01"
REMOTE = "/lib/systemd/systemd-journal-remote"
BOOT = "$(tr -d - < /proc/sys/kernel/random/boot_id)"
JOURNAL = "/var/log/journal/$(cat /etc/machine-id)/lab-kernel.journal"
RECORD = "/var/lib/superpod-dcgm/kernel-log.json"
UNIT = "dcgm-job-map.service"
# Asks the agent's own reader about journals of its own; prints how many XIDs are counted after each line of a scenario.
READER = """
import json, os, subprocess, sys
sys.path.insert(0, "/usr/local/lib/superpod-dcgm-node")
from superpod_dcgm.agent import kernel_log, xids
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.base import paths, process
root = sys.argv[1]
paths.KERNEL_LOG = f"{root}/kernel-log.json"
ENTRY = "__REALTIME_TIMESTAMP=%d\\n__MONOTONIC_TIMESTAMP=%d\\n_BOOT_ID=%s\\n_TRANSPORT=kernel\\n" \\
    "_SOURCE_MONOTONIC_TIMESTAMP=%d\\nMESSAGE=%s\\n\\n"

def write(file, boot, *moments, text="NVRM: Xid (PCI:0000:1b:00): 79, GPU has fallen off the bus."):
    told = "".join(ENTRY % (1764230000000000 + moment, moment + 9, boot, moment, text) for moment in moments)
    remote = ["/lib/systemd/systemd-journal-remote", "-o", f"{root}/journal/{file}.journal", "-"]
    subprocess.run(remote, input=told.encode(), check=True, stderr=subprocess.DEVNULL)

def ask(words, seconds, most):
    return process.run_bounded([words[0], f"--directory={root}/journal", *words[1:]], seconds, most)

counted = {}
def tick(what, boot, uptime=1e6):
    for _ in range(2):
        problem = xids.count(Table(), lambda place: kernel_log.read(place, ask, uptime, boot))
        assert not problem, f"{what}: {problem}"
    counted[what] = sum(one["count"] for one in xids.load()["counts"])

os.makedirs(f"{root}/journal")
one, two = "a" * 32, "b" * 32
write("system", one, 100, text="Linux version 6")
write("system", one, 200)
tick("what was there before", one)
write("system", one, 300, 400)
tick("two more", one)
os.rename(f"{root}/journal/system.journal", f"{root}/journal/system@1.journal")
write("system", one, 500)
tick("after a rotation", one)
os.unlink(f"{root}/journal/system@1.journal")
os.unlink(f"{root}/journal/system.journal")
write("fresh", one, 600)
tick("after all was vacuumed", one)
write("again", one, 300, 500, 600)
tick("lines that come a second time", one)
write("fresh", one, 700)
write("fresh", two, 50)
tick("after a reboot", two, 20)
write("fresh", two, *range(1000, 31000))
for _ in range(20):
    tick("a flood", two)
os.unlink(paths.KERNEL_LOG)
tick("without the record", two)
print(json.dumps(counted))
"""


def value(cluster: Cluster, query: str) -> list[str]:
    return [series["value"][1] for series in cluster.lab.prometheus(query)]


@pytest.fixture
def journal(deployed: object, cluster: Cluster) -> Iterator[Any]:
    """Return a function that writes lines into the node's own journal as the kernel's; they go after the test."""
    written = {"at": 0}

    def write(*lines: str) -> None:
        entries = []
        for line in lines:
            written["at"] += 1000
            moment, now = written["at"], int(time.time() * 1e6)
            entries.append(
                f"__REALTIME_TIMESTAMP={now}\n__MONOTONIC_TIMESTAMP={moment}\n_BOOT_ID={BOOT}\n_TRANSPORT=kernel\n"
                f"_SOURCE_MONOTONIC_TIMESTAMP={moment}\nMESSAGE={line}\n\n"
            )
        script = f"set -e\n{REMOTE} -o {JOURNAL} - <<END\n{''.join(entries)}END\n"
        cluster.shell(NODE, f"{script}systemctl start {UNIT}")

    yield write
    cluster.shell(NODE, f"rm -f {JOURNAL} {RECORD}; systemctl start {UNIT}")


def test_an_xid_that_dcgm_never_sees_is_an_increase_in_prometheus(cluster, journal) -> None:
    _, gpu, uuid, _, bus = cluster.shell(NODE, "grep '^gpu 3 ' /run/superpod-dcgm/devices").split()[:5]
    place = bus.removeprefix("0000").removesuffix(".0").lower()
    journal("Linux version 6")
    cluster.wait(
        "the kernel log is read", lambda: value(cluster, f'superpod_dcgm_kernel_log_ok{{host="{NODE}"}}') == ["1"]
    )
    journal(f"NVRM: Xid (PCI:{place}): 79, pid=1, name=x, GPU has fallen off the bus.")
    series = f'superpod_dcgm_kernel_xid_total{{host="{NODE}",xid="79",gpu="{gpu}",UUID="{uuid}",pci_bus_id="{bus}"}}'
    cluster.wait("the series begins with 0", lambda: value(cluster, series) == ["0"])
    cluster.wait("and has its event then", lambda: value(cluster, series) == ["1"])
    cluster.wait("which is an increase", lambda: float((value(cluster, f"increase({series}[1m])") or ["0"])[0]) > 0)
    # What journald writes itself goes on beside it, and another start of it brings nothing a second time.
    cluster.shell(NODE, f"systemctl restart systemd-journald; systemctl start {UNIT}")
    assert json.loads(cluster.shell(NODE, f"cat {RECORD}"))["counts"][0]["count"] == 1
    journal(f"NVRM: Xid (PCI:{place}): 79, pid=1, name=x, GPU has fallen off the bus.")
    cluster.wait("the next one counts", lambda: value(cluster, series) == ["2"])


def test_a_real_journal_is_counted_once_whatever_becomes_of_it(deployed, cluster) -> None:
    python = "/opt/salt/bin/python3"
    script = f"d=$(mktemp -d); {python} -B - $d <<'END'\n{READER}\nEND\ncode=$?; rm -r $d; exit $code"
    assert json.loads(cluster.shell(NODE, script)) == {
        "what was there before": 0,
        "two more": 2,
        "after a rotation": 3,
        "after all was vacuumed": 4,
        "lines that come a second time": 4,
        "after a reboot": 6,
        "a flood": 30006,
        "without the record": 0,
    }


def test_a_container_without_kernel_messages_raises_no_alarm_and_its_tick_is_whole(deployed, cluster) -> None:
    """What the lab's nodes have of their kernel is their host's."""
    cluster.shell(NODE, f"rm -f {RECORD}; systemctl start {UNIT}")
    assert json.loads(cluster.shell(NODE, f"cat {RECORD}"))["ok"] is None
    told = f'superpod_dcgm_kernel_log_ok{{host="{NODE}"}}'
    cluster.wait("nothing is told", lambda: value(cluster, told) == [])
    assert cluster.shell(NODE, f"systemctl show -P Result {UNIT}") == "success"


def test_every_node_tells_what_is_deployed_as_the_head_wants_it(deployed, cluster) -> None:
    release = cluster.release(NODE)
    alike = "superpod_dcgm_info and on (cluster, release, code) superpod_dcgm_head_info"
    cluster.wait("both nodes are as wanted", lambda: len(cluster.lab.prometheus(alike)) == 2)
    (one,) = cluster.lab.prometheus(f'superpod_dcgm_info{{host="{NODE}"}}')
    applied = json.loads(cluster.shell(NODE, "cat /var/lib/superpod-dcgm/applied.json"))
    expected = {"release": release, "method": "build", "applied": applied["digest"][:12]}
    assert {key: one["metric"][key] for key in expected} == expected


def test_the_watcher_tells_how_it_is_under_a_job_of_its_own(deployed, cluster) -> None:
    cluster.wait("the head is scraped", lambda: value(cluster, 'up{job="superpod-dcgm-head"}') == ["1"])
    numbers = {"nodes_members": "2", "nodes_wanted": "2", "nodes_unknown": "0", "nodes_owed": "0", "watcher_ok": "1"}
    for name, expected in numbers.items():
        cluster.wait(name, lambda n=name, e=expected: value(cluster, f"superpod_dcgm_{n}") == [e])
    assert value(cluster, "superpod_dcgm_nodes_with_target") == ["2", "2"]
    for name in ("watcher_poll", "watcher_answer", "targets"):
        (age,) = value(cluster, f"time() - superpod_dcgm_{name}_timestamp_seconds")
        assert float(age) < 30, name
    cluster.lab.fault("down", True)
    try:
        cluster.wait("BCM does not answer", lambda: value(cluster, "superpod_dcgm_watcher_ok") == ["0"])
        old = "time() - superpod_dcgm_watcher_answer_timestamp_seconds > 10 and superpod_dcgm_watcher_failures > 1"
        cluster.wait("its list gets old", lambda: value(cluster, old))
    finally:
        cluster.lab.fault("down", False)
    cluster.wait("it answers again", lambda: value(cluster, "superpod_dcgm_watcher_ok") == ["1"])


def test_a_node_exporter_on_the_head_is_given_a_link_and_our_service_goes(deployed, cluster) -> None:
    link, unit = "/var/lib/lab-node-exporter/superpod-dcgm-head.prom", "superpod-dcgm-head.service"
    cluster.shell("head", "mkdir -p /var/lib/lab-node-exporter")
    change = {"dcgm": {"head_metrics": {"textfile_directory": "/var/lib/lab-node-exporter"}}}
    cluster.apply("bcm-01", "dcgm.head", pillar=change).succeeded()
    assert "superpod_dcgm_watcher_ok" in cluster.shell("head", f"cat {link}")
    assert cluster.shell("head", f"systemctl is-active {unit} || true") in ("inactive", "failed")
    cluster.apply("bcm-01", "dcgm.head").succeeded()
    assert cluster.shell("head", f"ls {link} 2>/dev/null || echo gone; systemctl is-active {unit}") == "gone\nactive"
    cluster.shell("head", "rmdir /var/lib/lab-node-exporter")
    cluster.wait("the head is scraped", lambda: value(cluster, 'up{job="superpod-dcgm-head"}') == ["1"])
