"""What a lab looks like right now: for `status --json`, the node table and the end of `up`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from superpod.errors import SuperpodError
from superpod.lab.lab import Lab
from superpod.lab.layout import HEAD, addresses_of

PROBE = """
echo "system $(systemctl is-system-running)"
echo "failed $(systemctl --failed --plain --no-legend | cut -d' ' -f1 | paste -sd' ')"
echo "exporter $(systemctl is-active dcgm-exporter.service)"
echo "version $(readlink /opt/dcgm-exporter/current | xargs -r basename)"
echo "gpus $(nvidia-smi -L 2>/dev/null | grep -c '^GPU')"
echo "roles $(jq -c .roles /var/lib/superpod-dcgm/roles.json 2>/dev/null)"
"""


def status(lab: Lab) -> dict[str, Any]:
    """State of the lab, its machines, and what the deployment made of them."""
    if not lab.record or not lab.holder.pid:
        return {"name": lab.name, "state": "down", "machines": []}
    with ThreadPoolExecutor(max_workers=8) as pool:
        machines = list(pool.map(lambda name: _machine(lab, name), lab.machines))
    healthy = all(machine["state"] == "running" and not machine["stopped"] for machine in machines)
    return {
        "name": lab.name,
        "state": "up" if healthy else "degraded",
        "started": lab.record["started"],
        "release": lab.record["release"],
        "image": lab.record["image"],
        "machines": machines,
    }


def _machine(lab: Lab, name: str) -> dict[str, Any]:
    machine = lab.machine(name)
    base: dict[str, Any] = {"name": name, "address": addresses_of(name)[0], "state": "off", "stopped": [], "failed": []}
    if machine.pid is None:
        return base
    probe = parse_probe(lab.exec(name, ["bash", "-c", PROBE]).stdout)
    found = {**base, "state": probe["system"], "failed": probe["failed"].split(), "stopped": lab.stopped_units(name)}
    if name != HEAD:
        roles = json.loads(probe["roles"]) if probe["roles"] else None
        found |= {
            "exporter": probe["exporter"],
            "version": probe["version"],
            "gpus": int(probe["gpus"] or 0),
            "roles": roles,
        }
    return found


def parse_probe(text: str) -> dict[str, str]:
    """Key and rest of each line."""
    pairs = (line.partition(" ") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}


def running_job(lab: Lab) -> int | None:
    """Any job that runs on GPUs at this moment."""
    jobs = lab.exec(HEAD, ["squeue", "--noheader", "--states=RUNNING", "--format=%A %b"], check=True).stdout
    return next((int(line.split()[0]) for line in jobs.splitlines() if "gpu" in line), None)


def sample_metric(lab: Lab, job: int) -> str | None:
    """A line of a node's /metrics that carries the job's id."""
    for node in lab.nodes:
        code, body = lab.http(f"http://{node}:9400/metrics")
        lines = [line for line in body.splitlines() if f'hpc_job="{job}"' in line] if code == 200 else []
        for line in [line for line in lines if line.startswith("DCGM_FI_DEV_GPU_UTIL")] or lines:
            return line
    return None


def prometheus_address(lab: Lab) -> str | None:
    """Where Prometheus can be reached from this machine, or None if it does not run."""
    try:
        code, _ = lab.http(f"http://{HEAD}:9090/-/ready")
        return lab.prometheus_address() if code == 200 else None
    except SuperpodError:
        return None
