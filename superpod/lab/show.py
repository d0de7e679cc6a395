"""Prints what `up` and `status` found out."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table

from superpod import ui
from superpod.errors import SuperpodError
from superpod.lab import drawn, forward, grafana, report
from superpod.lab.deployment import wait_until
from superpod.lab.lab import Lab
from superpod.lab.layout import HEAD


def table(found: dict[str, Any]) -> None:
    """One row per machine; what is wrong stands below."""
    if not found["machines"]:
        ui.out.print(f"The lab '{found['name']}' is down; start it with: ./setup.sh lab")
        return
    rows = Table("Machine", "Address", "State", "Roles", "dcgm-exporter", "Version", "GPUs", box=None, pad_edge=False)
    for machine in found["machines"]:
        roles = machine.get("roles")
        rows.add_row(
            machine["name"],
            machine["address"],
            machine["state"],
            "" if machine["name"] == HEAD else "unknown" if roles is None else ", ".join(roles),
            machine.get("exporter", ""),
            machine.get("version", ""),
            str(machine.get("gpus", "")),
        )
    ui.out.print(rows)
    for machine in found["machines"]:
        for word, units in (("stopped", machine["stopped"]), ("failed", machine["failed"])):
            if units:
                ui.out.print(f"{machine['name']}: {word}: {' '.join(units)}")


def result(lab: Lab, deployed: bool, boards: bool = False) -> None:
    """The end of `up`: the table, a metric with a job's id, where to look, and what to try."""
    metric = _metric(lab) if deployed else ""
    dashboards = dashboards_line(lab, boards) if deployed else ""
    ui.out.print()
    found = report.status(lab)
    table(found)
    address = report.prometheus_address(lab)
    if metric:
        ui.out.print(metric, markup=False)
    if address:
        ui.out.print(f"\nPrometheus: {address}")
    if dashboards:
        ui.out.print(dashboards, markup=False)
    ui.out.print(f"\nTry next:\n{next_commands(lab.name, lab.bare)}", markup=False)
    if found["state"] != "up":
        raise SuperpodError("Not everything in the lab runs as it should; the lines below the table say what.")


def _metric(lab: Lab) -> str:
    """Start a job on GPUs if none runs, and return how it is seen."""
    lab.progress("A GPU job, to see its id on a metric")
    job = report.running_job(lab) or lab.run_job(2, 600)
    metric = wait_until(f"job {job} on a metric", lambda: report.sample_metric(lab, job), 60)
    return f"\nA metric of job {job}:\n  {metric}"


def dashboards_line(lab: Lab, drawing: bool = True) -> str:
    """Where the dashboards are, or in one sentence why they are nowhere; the lab is none the worse for it."""
    try:
        if json.loads(lab.record.get("grafana", grafana.NONE))["enabled"]:
            return _grafana(lab)
        return f"Dashboards: {drawn.serve(lab)} ({drawn.HONEST})" if drawing else ""
    except (SuperpodError, OSError) as error:
        return f"Dashboards: not shown, since {error}"


def _grafana(lab: Lab) -> str:
    """Where the lab's Grafana is, and as whom one logs in."""
    password = lab.exec(HEAD, ["cat", "/etc/superpod-grafana/admin-password"], check=True).stdout.strip()
    address = forward.ensure(lab.layout, lab.holder, grafana.PORT)
    return f"Grafana: {address} (user admin, password {password})"


def next_commands(name: str, bare: bool) -> str:
    """Commands for somebody who sees the lab for the first time."""
    base = "  ./setup.sh lab " + ("" if name == "default" else f"--name {name} ")
    commands = (
        "run-job --gpus 4",
        "roles dgx-01 -slurmclient",
        f"exec {HEAD} -- salt 'dgx-*' state.apply",
        "reboot dgx-02 --provision",
        f"shell {HEAD}",
        "down",
    )
    readme = f"shell {HEAD}    (there, follow README from its step 1; the checkout is in place)"
    return "\n".join(base + rest for rest in ((readme, "down") if bare else commands))
