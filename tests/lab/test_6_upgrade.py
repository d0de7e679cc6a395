"""An upgrade in place from the commit before the code moved into one package, with a job that runs meanwhile."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import former
import pytest
from product import FOLLOWING, Applied, Cluster

from superpod.lab import Lab

NODE = "dgx-01"
UNITS = ("dcgm-exporter.service", "dcgm-devices.service", "dcgm-job-map.service", "dcgm-textfile.service")
# Where units, master and minions have code of ours from; the name of each file or folder of it begins so.
CODE = "find /usr/local/lib /var/cache/salt/*/extmods -name 'superpod_*' -not -path '*/superpod_dcgm/*'"
# In the served tree; nothing else than its first line changes.
TEMPLATE = "salt/dcgm/agent/files/dcgm-job-map.service.jinja"
LINKS = "realpath /cm/local/apps/slurm/var/prologs/60-prolog-dcgm.sh /cm/local/apps/slurm/var/epilogs/60-epilog-dcgm.sh"


@dataclass(frozen=True)
class Found:
    """What is to survive."""

    exporter: str
    user: str
    devices: str
    prologs: int


@dataclass(frozen=True)
class Upgrade:
    """What was there before, what each apply said, and between them a role call to the node that is old still."""

    job: int
    before: Found
    head: Applied
    call: str
    between: Found
    nodes: Applied


def prologs(cluster: Cluster) -> int:
    (count,) = re.findall(r'^dcgm_job_map_runs_total{script="prolog"} (\d+)', cluster.own_metrics(NODE), re.MULTILINE)
    return int(count)


def look(cluster: Cluster) -> Found:
    # The old code does not know which kinds of gres Slurm counts: that line is new.
    table = cluster.shell(NODE, "grep -vE '^(made|fingerprint|gres) ' /run/superpod-dcgm/devices")
    user = cluster.shell(NODE, "ps -o uid=,user= -p $(systemctl show -P MainPID dcgm-exporter)")
    return Found(cluster.started(NODE), user, table, prologs(cluster))


def labelled(cluster: Cluster, job: int) -> set[tuple[str, str]]:
    """Return (host, GPU) of what the exporter itself gives a job's id to."""
    pattern = rf'^DCGM_FI_DEV_GPU_UTIL{{gpu="(\d+)",.*hpc_job="{job}"'
    return {(NODE, gpu) for gpu in re.findall(pattern, cluster.metrics(NODE), re.MULTILINE)}


def mapped(cluster: Cluster, job: int) -> set[tuple[str, str]]:
    return {(NODE, gpu) for gpu, jobs in cluster.ids(NODE).items() if str(job) in jobs}


@pytest.fixture(scope="module")
def lab(new_lab: Callable[[str], Lab], say: Callable[[str], None]) -> Iterator[former.FormerLab]:
    """The lab of the earlier commit, deployed by it."""
    if reason := former.why_not():
        pytest.fail(reason)
    with tempfile.TemporaryDirectory() as place:
        earlier = former.FormerLab(new_lab("upgrade").name, Path(place), say)
        try:
            earlier.up(nodes=1)
            yield earlier
        finally:
            earlier.down()


@pytest.fixture(scope="module")
def cluster(lab: former.FormerLab) -> Cluster:
    return Cluster(lab)


@pytest.fixture(scope="module")
def job(cluster: Cluster) -> int:
    """A job that runs on GPUs; what the earlier code makes of it is known to the earlier code's metrics as well."""
    job = cluster.lab.run_job(2, 3600)
    cluster.wait(f"job {job} is labelled", lambda: labelled(cluster, job))
    cluster.wait(f"the prolog of job {job} is counted", lambda: prologs(cluster) >= 2)
    assert labelled(cluster, job) == cluster.allocated(job)
    return job


@pytest.fixture(scope="module")
def upgrade(cluster: Cluster, lab: former.FormerLab, job: int) -> Upgrade:
    """The steps of the README: pull, let the master see new files, apply the head, wait for it, apply the node."""
    before = look(cluster)
    assert "/cm/shared/" in cluster.shell(NODE, LINKS)
    assert "superpod_node.py" in cluster.shell(NODE, CODE)
    # Something has always just asked for the list of files, which the master then remembers.
    lab.salt(former.FORMER_HEAD, "cp.list_states")
    former.replace(lab.served)
    lab.exec("head", ["salt-run", "fileserver.clear_file_list_cache"], check=True)
    head = cluster.apply(former.FORMER_HEAD)
    head.succeeded()
    lab.exec("head", ["salt-run", "dcgm.ready"], check=True)
    call = json.loads(lab.exec("head", ["salt-run", "--out=json", "bcm.sync", NODE], check=True).stdout)
    return Upgrade(job, before, head, call["nodes"][NODE], look(cluster), cluster.apply(NODE))


def test_one_apply_of_head_and_node_fails_nowhere(upgrade: Upgrade) -> None:
    upgrade.nodes.succeeded()
    assert "Install the code of the watcher" in upgrade.head.changed(former.FORMER_HEAD)


def test_between_the_two_the_node_needs_the_roll_out_and_goes_on(upgrade: Upgrade) -> None:
    assert upgrade.call.startswith("old: needs the roll-out: ")
    assert upgrade.between == upgrade.before


def test_the_next_one_changes_nothing(cluster: Cluster, upgrade: Upgrade) -> None:
    again = cluster.apply("*")
    again.succeeded()
    assert {minion: again.changed(minion) for minion in again.answers} == {former.FORMER_HEAD: set(), NODE: set()}


def test_the_job_kept_running_with_its_label(cluster: Cluster, upgrade: Upgrade) -> None:
    assert cluster.running(upgrade.job)
    gpus = cluster.allocated(upgrade.job)
    assert (mapped(cluster, upgrade.job), labelled(cluster, upgrade.job)) == (gpus, gpus)


def test_user_table_and_counters_survived(cluster: Cluster, upgrade: Upgrade) -> None:
    found = look(cluster)
    assert replace(found, exporter=upgrade.before.exporter) == upgrade.before


def test_the_exporter_was_restarted_because_its_unit_changed(upgrade: Upgrade) -> None:
    assert "Write dcgm-exporter.service" in upgrade.nodes.changed(NODE)
    assert upgrade.nodes.states(NODE)[FOLLOWING]["changes"]["service"]["new"] == "restarted"


def test_prolog_and_epilog_are_the_nodes_own_now(cluster: Cluster, upgrade: Upgrade) -> None:
    own = "/usr/local/libexec/superpod-dcgm"
    assert cluster.shell(NODE, LINKS).split() == [f"{own}/prolog-dcgm.sh", f"{own}/epilog-dcgm.sh"]


def test_prometheus_is_a_service_of_ours_now(cluster: Cluster, upgrade: Upgrade) -> None:
    assert cluster.shell("head", "systemctl show -P ActiveState -P UnitFileState superpod-prometheus").split() == [
        *("active", "enabled")
    ]
    states = cluster.shell("head", "systemctl show -P ActiveState -P UnitFileState -P DropInPaths prometheus")
    assert states.split() == ["inactive", "disabled"]


@pytest.mark.parametrize("machine", ["head", NODE])
def test_only_the_new_code_is_left(cluster: Cluster, upgrade: Upgrade, machine: str) -> None:
    found = cluster.shell(machine, CODE).splitlines()
    assert {Path(path).name for path in found} == {"superpod_dcgm"}
    # Its own copies, and what the minion synced; the head has no agent, and the node no watcher.
    assert len(found) == 2


def test_units_run_the_new_code_and_none_failed(cluster: Cluster, upgrade: Upgrade) -> None:
    starts = cluster.shell(NODE, f"systemctl show -P ExecStart {' '.join(UNITS[1:])}")
    assert re.findall(r"-m superpod_dcgm\.agent (\w+) ;", starts) == ["devices", "tick", "serve"]
    serving = cluster.shell(NODE, "tr '\\0' ' ' < /proc/$(systemctl show -P MainPID dcgm-textfile)/cmdline")
    assert serving.endswith("-m superpod_dcgm.agent serve")
    cluster.shell(NODE, "systemctl start dcgm-job-map dcgm-devices")
    for machine in ("head", NODE):
        assert cluster.shell(machine, "systemctl --failed --no-legend") == ""


def test_systemd_runs_a_unit_that_alone_changes(cluster: Cluster, lab: former.FormerLab, upgrade: Upgrade) -> None:
    template = lab.served / TEMPLATE
    template.write_text(f"# Changed.\n{template.read_text()}")
    applied = cluster.apply(NODE, "dcgm.agent")
    applied.succeeded()
    assert applied.changed(NODE)
    assert cluster.shell(NODE, f"systemctl show -P NeedDaemonReload {' '.join(UNITS)}").split() == ["no"] * len(UNITS)


def test_the_watcher_follows_roles(cluster: Cluster, upgrade: Upgrade) -> None:
    cluster.lab.roles(NODE, "-slurmclient")
    cluster.wait("the exporter is stopped", lambda: not cluster.active(NODE))
    cluster.wait("its target is gone", lambda: cluster.targets() == set())
    cluster.lab.roles(NODE, "+slurmclient")
    cluster.wait("the exporter runs", lambda: cluster.active(NODE))
    cluster.wait("its target is back", lambda: cluster.targets() == {NODE})


def test_the_epilog_removes_the_id_when_the_job_ends(cluster: Cluster, upgrade: Upgrade) -> None:
    cluster.wait("/metrics answers", lambda: cluster.lab.http(f"http://{NODE}:9400/metrics")[0] == 200)
    cluster.shell("head", f"scancel {upgrade.job}")
    cluster.wait("the job is gone", lambda: cluster.gone(upgrade.job))
    assert mapped(cluster, upgrade.job) == set()
    cluster.wait("its label too", lambda: not labelled(cluster, upgrade.job), 20)
    assert "drain" not in cluster.shell("head", "sinfo -h -o %T")
