"""What reports are tried on: the GPUs of the rules' cases, and jobs that only reports have to understand."""

from __future__ import annotations

from collections.abc import Callable

import rule_cases as rules
import rule_series as scenario
from rule_series import Device, Job, Series, always, during

# A job that uses two of its four GPUs; the third and fourth do nothing.
FOUR = Job(4711, 300, 2100, "alice")
# It waited ten minutes for its second try, on other nodes.
TRIES = (Job(4720, 300, 900, "nina"), Job(4720, 1500, 2400, "nina"))
# The id came round.
TWICE = (Job(4730, 300, 600, "olga"), Job(4730, 1800, 2700, "paul", account="art"))
# Three tries of four minutes each: of three minutes nobody can know anything.
SHORT = tuple(Job(4760, begin, begin + 240, "tess", account="bio") for begin in (300, 700, 1100))
DEVICES = [
    *rules.DEVICES,
    Device("n31", 0, rules.busy(600, 70), rules.busy(0.9), rules.busy(0.95), rules.busy(60000, 512), [FOUR]),
    Device("n31", 1, rules.busy(500, 70), rules.busy(0.5), rules.busy(0.6), rules.busy(30000, 512), [FOUR]),
    Device("n31", 2, always(90), jobs=[FOUR]),
    Device("n31", 3, always(90), jobs=[FOUR]),
    Device("n32", 0, always(300), during(300, 900, 0.4), jobs=[TRIES[0]]),
    Device("n33", 0, always(300), during(1500, 2400, 0.8), jobs=[TRIES[1]]),
    Device("n33", 1, always(300), during(1500, 2400, 0.8), jobs=[TRIES[1]]),
    Device("n34", 0, always(200), always(0.5), jobs=[TWICE[0]]),
    Device("n35", 0, always(200), always(0.7), jobs=[TWICE[1]]),
    # Profiling dies in minute 12, while the job goes on.
    Device("n36", 0, always(500), during(0, 735, 0.9), always(0.96), jobs=[Job(4740, 300, 2100, "quin")]),
    Device("n38", 0, always(200), always(0.5), always(0.5), jobs=[*SHORT]),
    # It does nothing for fifteen of its thirty minutes.
    Device(
        "n37", 0, always(200), during(600, 1500, 0, 0.6), during(600, 1500, 0, 0.6), jobs=[Job(4750, 300, 2100, "rosa")]
    ),
]
TENSOR = {1: "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", 2: "DCGM_FI_PROF_TENSOR_UTIL_RATIO"}
DRAM = {1: "DCGM_FI_PROF_DRAM_ACTIVE", 2: "DCGM_FI_PROF_DRAM_UTIL_RATIO"}
SCHEMAS: dict[str, Callable[[Device], int]] = {
    "schema 1": lambda device: 1,
    "schema 2": lambda device: 2,
    "both": lambda device: 1 + int(device.host[1:]) % 2,
}


def series(schema: str) -> Series:
    """Return all that exporters and nodes showed."""
    found = scenario.collect(DEVICES, SCHEMAS[schema])
    for host in sorted({device.host for device in DEVICES if device.cluster == "a"}):
        _node(found, host, [device for device in DEVICES if device.host == host and device.cluster == "a"])
    for device in DEVICES:
        if device.host == "n31":
            _pipes(found, device, SCHEMAS[schema](device))
    _xids(found)
    return found


def _node(found: Series, host: str, devices: list[Device]) -> None:
    labels = {"cluster": "a", "host": host, "job": "superpod-dcgm", "instance": f"{host}:9401"}
    for now in range(0, scenario.END + 1, scenario.STEP):
        if all(device.told(now) for device in devices):
            found.add(now, 1, __name__="dcgm_job_map_device_table_ok", **labels)
            if host != "n35":
                found.add(now, 1, __name__="superpod_dcgm_kernel_log_ok", **labels)


def _pipes(found: Series, device: Device, schema: int) -> None:
    """Add what tensor cores and memory do; the rows begin anew with the job's label, as those of an exporter."""
    for now in range(0, scenario.END + 1, scenario.STEP):
        runs = FOUR.runs(now)
        labels = {"cluster": "a", "host": device.host, "gpu": str(device.gpu), "job": "dcgm-exporter"}
        labels |= {"hpc_job": str(FOUR.id)} if runs else {}
        busy = runs and device.gpu < 2
        # Before the job somebody else's work: none of its.
        found.add(now, 0.02 if busy else 0.7 if not runs else 0, __name__=TENSOR[schema], **labels)
        found.add(now, 0.85 if busy else 0, __name__=DRAM[schema], **labels)


def _xids(found: Series) -> None:
    def add(name: str, host: str, gpu: str, xid: str, values: Callable[[int], float | None]) -> None:
        labels = {"cluster": "a", "host": host, "gpu": gpu, "xid": xid, "job": "x"}
        for now in range(0, scenario.END + 1, scenario.STEP):
            value = values(now)
            if value is not None:
                found.add(now, value, __name__=name, **labels)

    kernel, counted = "superpod_dcgm_kernel_xid_total", "DCGM_EXP_XID_ERRORS_COUNT"
    # Twice in the job's time; one before it, one on a GPU of which nobody knows which, one of another node.
    add(kernel, "n31", "1", "94", lambda now: 0 if now < 900 else 1 if now < 1500 else 2)
    add(kernel, "n31", "0", "31", lambda now: 0 if now < 120 else 1)
    add(kernel, "n31", "", "62", lambda now: None if now < 990 else 0 if now < 1020 else 1)
    add(kernel, "n36", "0", "79", lambda now: 3 if now < 600 else 4)
    # DCGM's own counter begins with its first event; what it had before is not of this job.
    add("DCGM_EXP_XID_ERRORS_TOTAL", "n37", "0", "43", lambda now: None if now < 900 else 2)
    add("DCGM_EXP_XID_ERRORS_TOTAL", "n37", "0", "13", lambda now: 5)
    # DCGM counts samples within five minutes.
    add(counted, "n33", "0", "13", lambda now: 4 if 1650 <= now < 1950 else None)
    add(counted, "n33", "1", "48", lambda now: 4 if 1350 <= now < 1650 else None)
