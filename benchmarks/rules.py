"""
How long each rule takes in a Prometheus that scrapes 16,000 GPUs with jobs.

``python benchmarks/rules.py [PROMETHEUS …]`` serves what 2,000 nodes would say, lets each Prometheus scrape it and
evaluate our rule files for a while. Then the server does nothing else but answer for the expression of each rule, of
the last moment before. Printed are its seconds of CPU, and those on the clock: the least of some tries. Without
arguments it takes the two of the lab's image. It needs about 3 GiB of memory and 6 minutes for each.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE), str(HERE / "_utils")]

from superpod_dcgm.config import resolve  # noqa: E402
from superpod_dcgm.monitoring import rule_files  # noqa: E402

from superpod.lab import image  # noqa: E402

NODES, GPUS, SHARDS, JOB_GPUS = 2000, 8, 16, 8
# Seconds until all that is recorded is there; tries of each rule; seconds of CPU that one may take.
WARM, TRIES, LIMIT = 210, 3, 1.0
# Seconds that the server has to become quiet.
QUIET = 20
# name: value of GPU number N
ROWS = {
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": lambda gpu: 0.5,
    "DCGM_FI_DEV_GPU_UTIL": lambda gpu: 0 if gpu % 50 == 0 else 70,
    "DCGM_FI_DEV_POWER_USAGE": lambda gpu: 400 + gpu % 200,
    "DCGM_FI_DEV_FB_USED": lambda gpu: 40000,
    "DCGM_FI_DEV_FB_FREE": lambda gpu: 40000,
    "DCGM_FI_DEV_FB_RESERVED": lambda gpu: 600,
    "DCGM_FI_DEV_GPU_TEMP": lambda gpu: 55,
}
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Pages(BaseHTTPRequestHandler):
    """What an exporter and our own metrics say of the GPUs of a part of the nodes: ``/3`` is the fourth part."""

    def do_GET(self) -> None:
        shard = int(self.path.rpartition("/")[2])
        body = "".join([FIXED[shard], *energy(shard)]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def gpus(shard: int) -> range:
    each = NODES * GPUS // SHARDS
    return range(shard * each, (shard + 1) * each)


def place(gpu: int) -> str:
    return f'cluster="a",host="dgx-{gpu // GPUS:04}",gpu="{gpu % GPUS}",UUID="GPU-{gpu:08}"'


def jobs(gpu: int) -> list[int]:
    """Every tenth GPU is shared."""
    job = 100000 + gpu // JOB_GPUS
    return [job, job + 900000] if gpu % 10 == 0 else [job]


def fixed(shard: int) -> str:
    lines = []
    for name, value in ROWS.items():
        lines += [f'{name}{{{place(gpu)},hpc_job="{job}"}} {value(gpu)}' for gpu in gpus(shard) for job in jobs(gpu)]
    for gpu in gpus(shard):
        for job in jobs(gpu):
            owner = f'user="u{job % 400}",account="a{job % 40}",partition="p{job % 4}"'
            lines.append(f'slurm_gpu_job_info{{{place(gpu)},hpc_job="{job}",{owner}}} 1')
    return "\n".join(lines) + "\n"


def energy(shard: int) -> list[str]:
    name, seconds = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", int(time.time() * 1000) - 1_700_000_000_000
    return [
        f'{name}{{{place(gpu)},hpc_job="{job}"}} {(400 + gpu % 200) * seconds}\n'
        for gpu in gpus(shard)
        for job in jobs(gpu)
    ]


FIXED = [fixed(shard) for shard in range(SHARDS)]


def write_configuration(folder: Path, port: int) -> None:
    defaults, schema, compatibility = (
        yaml.safe_load((HERE / f"salt/dcgm/{name}.yaml").read_text())
        for name in ("defaults", "schema", "compatibility")
    )
    found = resolve.configuration(defaults, schema, compatibility, {"rules": {"jobstats": True}})
    files = rule_files.rule_files(found)
    for name, text in files.items():
        (folder / name).write_text(text)
    scrapes = [
        {
            "job_name": f"part-{shard}",
            "metrics_path": f"/{shard}",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        for shard in range(SHARDS)
    ]
    whole = {"global": {"scrape_interval": "30s", "scrape_timeout": "25s"}, "rule_files": [*files]}
    (folder / "prometheus.yml").write_text(json.dumps({**whole, "scrape_configs": scrapes}))


def ask(port: int, path: str) -> Any:
    with OPENER.open(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return json.load(answer)["data"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def times(pid: int, port: int, expression: str, moment: float) -> tuple[float, float]:
    """Return the least seconds of CPU, and on the clock, that an expression takes at a moment of the past."""
    query = urllib.parse.urlencode({"query": f"count({expression})", "time": f"{moment:.3f}"})
    taken = []
    for _ in range(TRIES):
        begin, used = time.monotonic(), cpu(pid)
        ask(port, f"/api/v1/query?{query}")
        taken.append((cpu(pid) - used, time.monotonic() - begin))
    return min(one for one, _ in taken), min(one for _, one in taken)


def measure(program: str, port: int) -> dict[str, tuple[float, float]]:
    own = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_configuration(folder, port)
        command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{own}", "--log.level=error"]
        with subprocess.Popen(command) as process:
            try:
                time.sleep(WARM)
                rules = [rule for group in ask(own, "/api/v1/rules")["groups"] for rule in group["rules"]]
                wrong = [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"]
                assert not wrong, wrong
                moment = time.time()
                (count,) = ask(own, "/api/v1/query?query=count(gpu_job:gpus_allocated:split)")["result"]
                print(f"{program}: {count['value'][1]} rows of who holds a GPU", flush=True)
                (folder / "prometheus.yml").write_text("{}")
                process.send_signal(signal.SIGHUP)
                time.sleep(QUIET)
                return {rule["name"]: times(process.pid, own, rule["query"], moment) for rule in rules}
            finally:
                process.terminate()


def main() -> int:
    place = image.image_dir()
    programs = sys.argv[1:] or [str(place / "usr/bin/prometheus"), str(place / "opt/prometheus-3/bin/prometheus")]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    worst = 0.0
    for program in programs:
        found = measure(program, server.server_address[1])
        for name, (used, taken) in sorted(found.items(), key=lambda one: -one[1][0]):
            print(f"{used:6.2f} s of CPU, {taken:6.2f} s  {name}")
        print(f"{sum(used for used, _ in found.values()):6.2f} s of CPU for all {len(found)} rules", flush=True)
        worst = max(worst, *(used for used, _ in found.values()))
    server.shutdown()
    print(f"slowest rule: {worst:.2f} s of CPU; allowed: {LIMIT} s")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
