"""The device table on a node whose slurmd, Slurm or GPUs are not as everywhere: known, or visibly guessed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from product import Cluster

NODE = "dgx-01"
DROP_IN = "/etc/systemd/system/slurmd.service.d/lab-test.conf"
BACKUP = "/root/lab-test"
CONFIGLESS = "echo SlurmctldParameters=enable_configless >>/etc/slurm/slurm.conf; systemctl restart slurmctld"
RESTORE_HEAD = f"""
if [ -d {BACKUP} ]; then cp -a {BACKUP}/slurm/. /etc/slurm/; rm -r {BACKUP}; systemctl restart slurmctld; fi
"""
KEEP = f"mkdir {BACKUP}; cp -a /etc/slurm {BACKUP}/"
# Puts back what a test has changed, and lets slurmd run as before.
RESTORE = f"""
set -e
rm -rf {DROP_IN} /usr/local/sbin/start-slurmd.sh /var/spool/slurmd/conf-cache
rmdir --ignore-fail-on-non-empty /etc/systemd/system/slurmd.service.d 2>/dev/null || true
if [ -e /usr/bin/nvidia-smi.real ]; then mv -f /usr/bin/nvidia-smi.real /usr/bin/nvidia-smi; fi
if [ -d /opt/slurm ]; then mv /opt/slurm/bin/* /usr/bin/; rm -r /opt/slurm; fi
if [ -d {BACKUP} ]; then cp -a {BACKUP}/slurm/. /etc/slurm/; rm -r {BACKUP}; fi
systemctl daemon-reload
systemctl restart slurmd
"""


@pytest.fixture(autouse=True)
def restored(deployed: object, cluster: Cluster) -> Iterator[None]:
    """After every test slurmd runs as it did before, and the table is slurmd's own."""
    yield
    # The node first: one that has fewer GPUs than the controller expects is drained.
    cluster.shell(NODE, RESTORE)
    cluster.shell("head", RESTORE_HEAD)
    cluster.wait("the table is as before", lambda: known(cluster) and set(positions(cluster)) == set(range(8)))
    cluster.wait("Slurm has its nodes", lambda: set(states(cluster)) == {"idle"}, 90)


def states(cluster: Cluster) -> list[str]:
    return cluster.shell("head", "sinfo -h -N -o %T").split()


def status(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.shell(NODE, "cat /run/superpod-dcgm/devices.json"))
    return found


def positions(cluster: Cluster) -> dict[int, str]:
    lines = cluster.shell(NODE, "grep ^position /run/superpod-dcgm/devices || true").splitlines()
    return {int(line.split()[1]): line.split()[2] for line in lines}


def known(cluster: Cluster) -> bool:
    """Return whether the table has the answer of the slurmd that runs now."""
    found = status(cluster)
    process = cluster.shell(NODE, "pgrep -o -x slurmd || true")
    return found["guessed"] is False and found.get("mark", {}).get("process", "").split(":")[0] == process != ""


def slurmd(cluster: Cluster) -> list[str]:
    """Return what would be another one had slurmd been disturbed."""
    script = "pgrep -x slurmd; systemctl show -P NRestarts slurmd; systemctl is-active slurmd || true"
    return cluster.shell(NODE, script).split()


def started_by(cluster: Cluster, command: str, before: str = "") -> None:
    """Let the unit start slurmd by another command."""
    service = f"[Service]\\nType=simple\\nExecStart=\\nExecStart={command}\\n"
    script = f"{before}\nmkdir -p $(dirname {DROP_IN})\nprintf '{service}' >{DROP_IN}\n"
    cluster.shell(NODE, f"set -e\n{script}systemctl daemon-reload\nsystemctl restart slurmd")


WRAPPER = """
printf '#!/bin/bash\\n# waits for the fabric, then\\nexec /usr/sbin/slurmd -D\\n' >/usr/local/sbin/start-slurmd.sh
chmod 755 /usr/local/sbin/start-slurmd.sh
"""


def test_a_unit_that_starts_a_script_loses_no_slurmd_and_the_table_is_known(cluster: Cluster) -> None:
    started_by(cluster, "/usr/local/sbin/start-slurmd.sh", WRAPPER)
    cluster.wait("the table is slurmd's", lambda: known(cluster), 20)
    before = slurmd(cluster)
    cluster.shell("head", f"salt {NODE} dcgm_devices.refresh")
    cluster.shell(NODE, "systemctl start dcgm-devices dcgm-job-map")
    assert slurmd(cluster) == before
    assert (known(cluster), before[1:]) == (True, ["0", "active"])


def test_before_slurmd_runs_a_script_of_its_unit_is_not_started_and_the_table_is_a_guess(cluster: Cluster) -> None:
    started_by(cluster, "/usr/local/sbin/start-slurmd.sh", WRAPPER)
    cluster.shell(NODE, "systemctl stop slurmd; rm -f /run/superpod-dcgm/devices* /var/lib/superpod-dcgm/devices")
    cluster.shell(NODE, "systemctl start dcgm-devices")
    assert cluster.shell(NODE, "pgrep -x slurmd || true") == ""
    assert (status(cluster)["guessed"], status(cluster)["positions"]) == (True, "index")
    assert "start-slurmd.sh, which is not slurmd" in status(cluster)["note"]
    shown = json.loads(cluster.shell("head", f"salt {NODE} dcgm_devices.show --out=json"))[NODE]
    assert shown["known"] == "guessed"
    cluster.shell(NODE, "systemctl start dcgm-job-map")
    assert "dcgm_job_map_device_table_guessed 1" in cluster.own_metrics(NODE)
    cluster.shell(NODE, "systemctl start slurmd")
    # By the unit that slurmd's start pulls in, not by the next tick.
    cluster.wait("slurmd is asked", lambda: known(cluster), 10)


GRES = r"""
sed -i "s#^NodeName=dgx-\[.*\] Name=gpu.*#\
NodeName=dgx-01 Name=gpu Type=h100 File=/dev/nvidia[0-2,4-7]\\n\
NodeName=dgx-02 Name=gpu Type=h100 File=/dev/nvidia[0-7]#" /etc/slurm/gres.conf
"""
NODES = r"""
sed -i "s#^NodeName=dgx-\[01-02\] \(.*\) Gres=gpu:h100:8,shard:32#\
NodeName=dgx-01 \1 Gres=gpu:h100:7,shard:28\\nNodeName=dgx-02 \1 Gres=gpu:h100:8,shard:32#" /etc/slurm/slurm.conf
"""


def test_a_gpu_taken_out_of_gres_conf_moves_the_positions_when_slurmd_reads_it_and_not_before(cluster: Cluster) -> None:
    for machine in ("head", NODE):
        cluster.shell(machine, KEEP)
    old = positions(cluster)
    cluster.shell(NODE, f"{GRES}systemctl start dcgm-job-map")
    assert "has not read it" in status(cluster)["pending"]
    assert positions(cluster) == old
    main = slurmd(cluster)[0]
    cluster.shell(NODE, NODES)
    cluster.shell("head", f"{GRES}{NODES}scontrol reconfigure")
    cluster.wait("another slurmd runs", lambda: slurmd(cluster)[0] != main, 20)
    cluster.wait("the table follows", lambda: known(cluster) and positions(cluster) == dict(enumerate("0124567")), 40)
    assert status(cluster)["pending"] == ""


def test_a_slurmd_that_fetches_its_configuration_is_asked_about_its_copy(cluster: Cluster) -> None:
    cluster.shell("head", f"{KEEP}; {CONFIGLESS}")
    cluster.shell(NODE, f"{KEEP}; rm /etc/slurm/*.conf")
    started_by(cluster, "/usr/sbin/slurmd -D --conf-server head:6817")
    cluster.wait("the table is slurmd's", lambda: known(cluster) and len(positions(cluster)) == 8, 20)
    copy = "stat -c '%i %Z' /run/slurm/conf/slurm.conf"
    before = cluster.shell(NODE, copy), slurmd(cluster)
    cluster.shell(NODE, "rm /run/superpod-dcgm/devices*; systemctl start dcgm-devices")
    cluster.shell("head", f"salt {NODE} dcgm_devices.refresh")
    assert (known(cluster), len(positions(cluster))) == (True, 8)
    assert (cluster.shell(NODE, copy), slurmd(cluster)) == before


def test_slurm_below_a_prefix_of_its_own_still_loses_its_stale_ids(cluster: Cluster) -> None:
    moved = "mkdir -p /opt/slurm/bin /opt/slurm/sbin; mv /usr/bin/squeue /usr/bin/scontrol /opt/slurm/bin/"
    started_by(cluster, "/opt/slurm/sbin/slurmd -D", f"{moved}; cp -L /usr/sbin/slurmd /opt/slurm/sbin/")
    cluster.wait("the table is slurmd's", lambda: known(cluster), 20)
    stale = "/run/dcgm-job-map/7"
    # Neither the timer nor the run that came with slurmd shall come first.
    cluster.shell(NODE, "systemctl stop dcgm-job-map.timer dcgm-job-map.service")
    try:
        cluster.shell(NODE, f"echo 4711 >{stale}; chmod 644 {stale}; touch -d '1 hour ago' {stale}")
        answer = json.loads(cluster.shell("head", f"salt {NODE} job_map.reconcile --out=json"))[NODE]
    finally:
        cluster.shell(NODE, "systemctl start dcgm-job-map.timer")
    assert (answer["problem"], answer["removed"]) == ("", {"7": ["4711"]})


# Replaces nvidia-smi by one that says or does something besides.
ODD = """set -e
mv /usr/bin/nvidia-smi /usr/bin/nvidia-smi.real
printf '#!/bin/sh\\n%s\\n' '{}' >/usr/bin/nvidia-smi
chmod 755 /usr/bin/nvidia-smi
"""
LOST = (
    '/usr/bin/nvidia-smi.real "$@" | grep -v ":52:00.0"; '
    'echo "Unable to determine the device handle for GPU0000:52:00.0: Unknown Error"; exit 255'
)


def test_a_node_with_one_gpu_lost_is_applied_with_a_warning_and_knows_the_others(cluster: Cluster) -> None:
    old = positions(cluster)
    cluster.shell(NODE, ODD.format(LOST))
    done = cluster.apply(NODE, "dcgm.agent")
    done.succeeded()
    made = done.states(NODE)["Make the device table"]
    assert any("(00000000:52:00.0): Unable to determine" in warning for warning in made["warnings"])
    assert positions(cluster) == old
    cluster.shell(NODE, "systemctl start dcgm-job-map")
    assert 'dcgm_job_map_gpu_bad{gpu="2"} 1' in cluster.own_metrics(NODE)
    # Not even the last table knows it now.
    cluster.shell(NODE, "rm /run/superpod-dcgm/devices /run/superpod-dcgm/devices.json")
    cluster.apply(NODE, "dcgm.agent").succeeded()
    assert positions(cluster).items() >= {(place, gpu) for place, gpu in old.items() if gpu != "2"}


def test_an_nvidia_smi_that_takes_seconds_makes_a_table(cluster: Cluster) -> None:
    cluster.shell(NODE, ODD.format('sleep 11; exec /usr/bin/nvidia-smi.real "$@"'))
    cluster.shell(NODE, "rm /run/superpod-dcgm/devices; systemctl start dcgm-devices")
    assert (status(cluster)["ok"], len(positions(cluster))) == (True, 8)
