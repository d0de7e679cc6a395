"""What the product's lab tests share: applying states, and asking node, exporter and Prometheus what is true."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from superpod.lab import Lab
from superpod.lab.deployment import apply_when_free, wait_until

NODES = ("dgx-01", "dgx-02")
# Seconds after which somebody who looks on wants to know what was waited for.
LONG = 5
UNIT = "dcgm-exporter.service"
FOLLOWING = "Start or stop dcgm-exporter as the node's roles say"
# Everything that the product puts on a node; the test of `clean` looks for each.
PLACES = (
    "/opt/dcgm-exporter",
    "/opt/superpod-dcgm",
    "/opt/dcgm-exporter-deployment",
    "/usr/bin/dcgm-exporter",
    "/etc/dcgm-exporter",
    "/etc/systemd/system/dcgm-exporter.service",
    "/etc/systemd/system/multi-user.target.wants/dcgm-exporter.service",
    "/etc/tmpfiles.d/superpod-dcgm.conf",
    "/etc/systemd/system/dcgm-devices.service",
    "/etc/systemd/system/multi-user.target.wants/dcgm-devices.service",
    "/etc/systemd/system/nvidia-dcgm.service.wants/dcgm-devices.service",
    "/etc/systemd/system/slurmd.service.wants/dcgm-devices.service",
    "/etc/systemd/system/dcgm-job-map.service",
    "/etc/systemd/system/slurmd.service.wants/dcgm-job-map.service",
    "/etc/systemd/system/dcgm-job-map.timer",
    "/etc/systemd/system/timers.target.wants/dcgm-job-map.timer",
    "/etc/systemd/system/dcgm-textfile.service",
    "/etc/systemd/system/multi-user.target.wants/dcgm-textfile.service",
    "/etc/sysusers.d/dcgm-exporter.conf",
    "/etc/sysusers.d/superpod-dcgm.conf",
    "/etc/sysusers.d/superpod-build.conf",
    "/usr/local/lib/superpod-dcgm-node",
    "/run/dcgm-job-map",
    "/run/superpod-dcgm",
    "/var/lib/superpod-dcgm",
    "/cm/local/apps/slurm/var/prologs/60-prolog-dcgm.sh",
    "/cm/local/apps/slurm/var/epilogs/60-epilog-dcgm.sh",
)


class Cluster:
    """The lab as the tests see it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def apply(self, target: str, *sls: str, test: bool = False, pillar: dict[str, Any] | None = None) -> Applied:
        """Run state.apply and return what each state said."""
        arguments = ["state.apply", *sls]
        if test:
            arguments.append("test=True")
        if pillar:
            arguments.append(f"pillar={json.dumps(pillar)}")
        self.lab.progress(f"salt '{target}' {' '.join(arguments[:2])}")
        return Applied(*apply_when_free(self.lab, target, *arguments))

    def shell(self, node: str, script: str) -> str:
        """Run a script on a node and return what it printed; it must succeed."""
        return self.lab.exec(node, ["bash", "-c", script], check=True).stdout.strip()

    def places(self, node: str) -> list[str]:
        """Return which of PLACES are on the node."""
        script = f'for path in {" ".join(PLACES)}; do if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; fi; done'
        return self.shell(node, script).split()

    def active(self, node: str) -> bool:
        return self.lab.exec(node, ["systemctl", "is-active", "--quiet", UNIT]).returncode == 0

    def enabled(self, node: str) -> bool:
        return self.lab.exec(node, ["systemctl", "is-enabled", "--quiet", UNIT]).returncode == 0

    def started(self, node: str) -> str:
        """Return which process of the exporter runs: another one after every restart."""
        return self.shell(node, f"systemctl show -P InvocationID {UNIT}; systemctl show -P MainPID {UNIT}")

    def release(self, node: str) -> str:
        """Return the release that the node runs."""
        return self.shell(node, "basename $(readlink /opt/dcgm-exporter/current)")

    def metrics(self, node: str) -> str:
        status, text = self.lab.http(f"http://{node}:9400/metrics")
        assert status == 200, text
        return text

    def up(self, node: str) -> bool:
        """Return whether Prometheus scrapes the node's exporter with success."""
        found = self.lab.prometheus(f'up{{job="dcgm-exporter",host="{node}"}}')
        return [series["value"][1] for series in found] == ["1"]

    def targets(self) -> set[str]:
        """Return the hosts that Prometheus has as targets of the exporter."""
        status, body = self.lab.http("http://head:9090/api/v1/targets?state=active")
        assert status == 200, body
        labels = [target["labels"] for target in json.loads(body)["data"]["activeTargets"]]
        return {label["host"] for label in labels if label["job"] == "dcgm-exporter"}

    def labelled(self, job: int) -> set[tuple[str, str]]:
        """Return (host, GPU) of every GPU that carries the job id in Prometheus at this moment."""
        found = self.lab.prometheus(f'DCGM_FI_DEV_FB_USED{{hpc_job="{job}"}}')
        return {(series["metric"]["host"], series["metric"]["gpu"]) for series in found}

    def allocated(self, job: int) -> set[tuple[str, str]]:
        """Return (host, GPU) as Slurm says it allocated them."""
        details = json.loads(self.shell("head", f"scontrol --json show job {job}"))["jobs"][0]
        node = details["nodes"]
        (gres,) = details["gres_detail"]
        spans = gres.split("IDX:")[1].rstrip(")").split(",")
        ends = [(span.split("-")[0], span.split("-")[-1]) for span in spans]
        return {(node, str(gpu)) for first, last in ends for gpu in range(int(first), int(last) + 1)}

    def running(self, job: int) -> bool:
        """Return whether a job runs; all components, where it leads a heterogeneous one."""
        return set(self.shell("head", f"squeue -h -j {job} -o %T 2>&1 || true").split()) == {"RUNNING"}

    def gone(self, job: int) -> bool:
        """Return whether Slurm has no job of this id any more, its epilogs included."""
        return not self.lab.exec("head", ["squeue", "-h", "-j", str(job)]).stdout.strip()

    def ids(self, node: str) -> dict[str, list[str]]:
        """Return the job ids of each GPU that has any, read from the map's files."""
        text = self.shell(node, "cd /run/dcgm-job-map && grep -s . [0-9]* || true")
        found: dict[str, list[str]] = {}
        for line in text.splitlines():
            name, _, job = line.rpartition(":")
            found.setdefault(name, []).append(job)
        return found

    def own_metrics(self, node: str) -> str:
        status, text = self.lab.http(f"http://{node}:9401/metrics")
        assert status == 200, text
        return text

    def wait(self, what: str, condition: Callable[[], Any], timeout: float = 60) -> Any:
        """Ask until the answer is true; says so if that took long."""
        began = time.monotonic()
        answer = wait_until(what, condition, timeout)
        if (seconds := time.monotonic() - began) > LONG:
            self.lab.progress(f"{what}: after {seconds:.1f} s")
        return answer


class Applied:
    """The answers of one state.apply."""

    def __init__(self, answers: dict[str, Any], code: int) -> None:
        self.answers = answers
        self.code = code

    def steps(self, node: str) -> list[dict[str, Any]]:
        """Return all steps of a node's run."""
        found = self.answers[node]
        assert isinstance(found, dict), found
        return list(found.values())

    def states(self, node: str) -> dict[str, dict[str, Any]]:
        """Return the states of a node by their ids."""
        return {state["__id__"]: state for state in self.steps(node)}

    def changed(self, node: str) -> set[str]:
        """Return the ids of the states that changed, or would change, something."""
        # A state with several names is several steps of one id.
        states = self.steps(node)
        return {state["__id__"] for state in states if state["changes"] or state["result"] is None}

    def failed(self, node: str) -> dict[str, str]:
        """Return id and comment of each state that failed by itself."""
        wrong = [state for state in self.steps(node) if state["result"] is False]
        return {state["__id__"]: state["comment"] for state in wrong if "requisite failed" not in state["comment"]}

    def succeeded(self) -> None:
        """Assert that nothing failed."""
        assert {node: self.failed(node) for node in self.answers} == {node: {} for node in self.answers}
        assert self.code == 0, f"exit code {self.code}: {self.answers}"
