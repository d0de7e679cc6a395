"""
How long a Prometheus works for each dashboard, at 2,000 nodes with 16,000 GPUs and jobs.

``python benchmarks/dashboards.py`` makes a database with what the recording rules would have written,
of as long a time as each dashboard shows at first, and asks Prometheus 2 and 3 of the lab's image all questions, one
after the other. Printed are their seconds of CPU: of what is asked when a dashboard is opened, and of closed rows. It
needs about 2 GiB of memory, 1 GiB of disk and 10 minutes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE), str(HERE / "_utils"), str(HERE / "tests/boards")]

import board_files  # noqa: E402
import board_server  # noqa: E402

NODES, GPUS, BIG = 2000, 8, 1024
USERS, ACCOUNTS, PARTITIONS = 400, 40, 8
# The first moment, at the edge of a block; seconds between samples of what is not recorded; seconds of dashboards.
END, STEP = 1_700_611_200, 240
HOUR, DAY = 3600, 86400
WEEK = 7 * DAY
SHORT = 900
OURS = 'job="dcgm-exporter"'
# Points of a line; seconds of CPU that a dashboard may take.
POINTS, LIMIT = 1000, 2.0
SHOWN = {"cluster": 6 * HOUR, "node": 6 * HOUR, "job": 12 * HOUR, "users": DAY, "health": DAY, "fleet": WEEK}
VALUES = {
    **{"cluster": "a", "host": "dgx-0000", "job": "100000", "hosts": ["dgx-0000"], "gpu": ".*", "severity": ".*"},
    **{"user": ".*", "account": ".*", "partition": ".*", "datasource": "p"},
}
AMOUNTS = (*(f"gpu_hours_{kind}" for kind in ("allocated", "measured", "used", "idle")), "energy_joules")
NOW = ("gpus_allocated:sum", "memory_used_bytes:sum", "power_watts:sum", "utilization_ratio:avg")


def owner(job: int) -> str:
    return f'user="u{job % USERS}",account="a{job % ACCOUNTS}",partition="p{job % PARTITIONS}"'


def jobs() -> Iterator[str]:
    """Yield the labels of jobs: one of 1,024 GPUs, and one of 8 on each other node."""
    for job in range(100000, 100000 + 1 + NODES - BIG // GPUS):
        yield f'cluster="a",hpc_job="{job}",{owner(job)}'


def devices(count: int) -> Iterator[str]:
    for number in range(count):
        yield f'cluster="a",host="dgx-{number // GPUS:04}",gpu="{number % GPUS}"'


def held() -> Iterator[str]:
    for number, place in enumerate(devices(NODES * GPUS)):
        job = 100000 + max(0, number // GPUS - BIG // GPUS + 1)
        yield f'{place},hpc_job="{job}",{owner(job)}'


def levels(level: str, count: int) -> Iterator[str]:
    return (f'cluster="a",{level}="{level[0]}{number}"' for number in range(count))


def nodes() -> Iterator[str]:
    return (f'cluster="a",host="dgx-{number:04}"' for number in range(NODES))


def series() -> Iterator[tuple[str, list[str], int]]:
    """Yield names, label sets, and for how many seconds up to the end they are there."""
    big = [one for one in held() if 'hpc_job="100000"' in one]
    for name, labels, seconds in (
        *(("b_job", [*jobs()], DAY), ("b_user", [*levels("user", USERS)], DAY), ("b_big", big, DAY)),
        *(
            ("b_account", [*levels("account", ACCOUNTS)], WEEK),
            ("b_partition", [*levels("partition", PARTITIONS)], WEEK),
        ),
        *(("b_cluster", ['cluster="a"'], WEEK), ("b_node", [*nodes()], 6 * HOUR), ("b_held", [*held()], SHORT)),
        *(("b_gpu", [*devices(NODES * GPUS)], SHORT), ("b_one", [*devices(GPUS)], 6 * HOUR)),
    ):
        yield name, labels, seconds
    for name in ("up", "scrape_duration_seconds"):
        yield name, [f"{one},{OURS}" for one in nodes()], DAY if name == "up" else SHORT
    alerts = [f'{one},alertname="Superpod{n % 7}",severity="warning"' for n, one in enumerate(devices(200))]
    yield "ALERTS", [f'{one},alertstate="firing"' for one in alerts], DAY
    yield "ALERTS_FOR_STATE", alerts, DAY
    for name in ("dcgm", "kernel"):
        yield f"gpu_xid:superpod_{name}_xids:recent", [f'{one},xid="79"' for one in devices(200)], DAY
    yield "DCGM_EXP_GPU_HEALTH_STATUS", [f'{one},{OURS},health_watch="ALL"' for one in held()], SHORT
    yield "DCGM_EXP_CLOCK_EVENTS_COUNT", [f'{one},{OURS},clock_event="power_cap"' for one in held()], SHORT
    for name in ("UNCORRECTABLE_REMAPPED_ROWS", "ROW_REMAP_FAILURE", "ROW_REMAP_PENDING", "ECC_DBE_VOL_TOTAL"):
        yield f"DCGM_FI_DEV_{name}", [f"{one},{OURS}" for one in held()], SHORT
    for name in ("info", "gpus_freed", "kernel_log_ok"):
        yield f"superpod_dcgm_{name}", [f'{one},release="4.9.0"' for one in nodes()], SHORT
    for name in ("device_table_ok", "device_table_guessed", "reconcile_ok"):
        yield f"dcgm_job_map_{name}", [*nodes()], SHORT


def recorded() -> Iterator[tuple[str, str, int]]:
    """Yield records, of what their values are made, and for how many seconds."""
    for level, seconds in (("job", DAY), ("user", DAY), ("account", WEEK), ("partition", WEEK), ("cluster", WEEK)):
        for number, name in enumerate(AMOUNTS, 1):
            yield f"{level}:{name}:increase1m", f"b_{level} * {number} / 50", seconds
        for name in NOW:
            # Tables ask for the last value only, lines of leading ones and of a cluster for all.
            long = level in ("account", "partition", "cluster") or name == "gpus_allocated:sum"
            yield f"{level}:{name}", f"b_{level} * 4", seconds if long else SHORT
    for name in ("gpus:count", "memory_capacity_bytes:sum"):
        yield f"cluster:{name}", "b_cluster * 16000", WEEK
    yield "cluster:energy_joules_unallocated:increase1m", "b_cluster * 5", WEEK
    for kind in ("utilization_ratio", "temperature_celsius"):
        buckets = " or ".join(f'label_replace(b_cluster * {le}, "le", "{le}", "", "")' for le in range(1, 12))
        yield f"cluster:gpu_{kind}:bucket", buckets, DAY
    for name in (
        *NOW,
        "gpus:count",
        "memory_capacity_bytes:sum",
        "temperature_celsius:max",
        "energy_joules:increase1m",
    ):
        yield f"node:{name}", "b_node * 4", 6 * HOUR if name.startswith(("energy", "temp")) else SHORT
    for name in ("power_watts", "temperature_celsius", "utilization_ratio", "memory_used_bytes"):
        yield f"gpu:{name}:max", "b_gpu * 45 or b_one * 45 or max by (cluster, host, gpu) (b_big) * 45", DAY
    for name in (*(f"gpus_{kind}" for kind in ("allocated", "measured", "used", "idle")), "memory_used_bytes"):
        yield f"gpu_job:{name}:split", "b_held * 1 or b_big * 1", DAY


def openmetrics(lasting: int) -> Iterator[str]:
    """Yield the text of what lasts as long: promtool reads all of a text for each two hours of it."""
    for name, labels, seconds in series():
        if seconds != lasting:
            continue
        for index, one in enumerate(labels):
            for now in range(END - seconds, END + 1, STEP):
                yield f"{name}{{{one}}} {1 + index % 7} {now}\n"
    yield "# EOF\n"


def make(folder: Path) -> Path:
    """Return a database: what is not recorded from text, what is by questions to it, one after the other."""
    data, text = folder / "data", folder / "series.txt"
    for seconds in (SHORT, 6 * HOUR, DAY, WEEK):
        with text.open("w") as stream:
            stream.writelines(openmetrics(seconds))
        board_server.promtool("create-blocks-from", "openmetrics", "--quiet", text, data)
    with board_server.running("3", data) as server:
        for index, (record, expression, seconds) in enumerate(recorded()):
            rules = folder / f"rules-{index}.json"
            rule = {"record": record, "expr": expression}
            rules.write_text(json.dumps({"groups": [{"name": "one", "rules": [rule]}]}))
            times = [f"--start={END - seconds}", f"--end={END}", "--eval-interval=60s", f"--url={server.address}"]
            board_server.promtool("create-blocks-from", "rules", *times, f"--output-dir={folder / 'made'}", rules)
    for block in (folder / "made").iterdir():
        block.rename(data / block.name)
    return data


def questions() -> Iterator[tuple[str, bool, str, str, bool, int]]:
    """Yield of questions: dashboard, whether asked at once, panel, expression, whether of a moment, seconds."""
    for file, board in board_files.boards().items():
        uid = file.removesuffix(".json").removeprefix("superpod-")
        closed = [panel for row in board["panels"] for panel in row.get("panels", ())]
        for panel, target in board_files.targets(board):
            seconds = DAY if panel.get("timeFrom") else SHOWN[uid]
            yield uid, panel not in closed, panel["title"], target["expr"], bool(target["instant"]), seconds


def ask(server: board_server.Server, expression: str, instant: bool, seconds: int) -> int:
    """Ask as Grafana does, and return how many rows come."""
    step = max(60, -(-seconds // POINTS // 60) * 60)
    own = {"__range": f"{seconds}s", "__interval": f"{step}s", "__rate_interval": "120s"}
    text = board_server.filled(expression, {**VALUES, **own})
    if instant:
        return len(server.get("/api/v1/query", query=text, time=str(END))["result"])
    times = {"start": str(END - seconds), "end": str(END), "step": str(step)}
    return len(server.get("/api/v1/query_range", query=text, **times)["result"])


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(major: str, data: Path) -> dict[tuple[str, bool], list[tuple[float, str, int]]]:
    found: dict[tuple[str, bool], list[tuple[float, str, int]]] = {}
    with board_server.running(major, data) as server:
        for uid, at_once, title, expression, instant, seconds in questions():
            used = []
            for _ in range(2):
                before = cpu(server.pid)
                rows = ask(server, expression, instant, seconds)
                used.append(cpu(server.pid) - before)
            found.setdefault((uid, at_once), []).append((min(used), title, rows))
    return found


def main() -> int:
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        begin = time.monotonic()
        data = make(Path(name))
        print(f"the database is made after {time.monotonic() - begin:.0f} s", flush=True)
        for major in board_server.PLACES:
            for (uid, at_once), asked in measure(major, data).items():
                total = sum(used for used, _, _ in asked)
                worst = max(worst, total if at_once else 0)
                what = "opened" if at_once else "closed rows"
                print(f"Prometheus {major}: {total:5.2f} s of CPU for {len(asked):3} questions of {uid}, {what}")
                for used, title, rows in sorted(asked, reverse=True)[:4]:
                    print(f"        {used:5.2f} s, {rows:4} rows: {title}", flush=True)
    print(f"most for a dashboard: {worst:.2f} s of CPU; allowed: {LIMIT} s")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
