"""
How long each rule and alert takes in a Prometheus that scrapes 16,000 GPUs with jobs.

``python benchmarks/rules.py [PROMETHEUS …]`` gives each Prometheus the past day of what alerts look back at, serves
what 2,000 nodes would say, and lets it scrape that and evaluate our rule files for a while. Then the server does
nothing else but answer for the expression of each rule, of the last moment before. Printed are its seconds of CPU, and
those on the clock: the least of some tries. Without arguments it takes the two of the lab's image. It needs about 8 GiB
of memory and 10 minutes for each.
"""

from __future__ import annotations

import contextlib
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
sys.path[:0] = [str(HERE), str(HERE / "_utils"), str(HERE / "benchmarks")]

import fleet  # noqa: E402
import history  # noqa: E402
from superpod_dcgm.config import resolve  # noqa: E402
from superpod_dcgm.monitoring import alerts, rule_files  # noqa: E402

from superpod.lab import image  # noqa: E402

# Seconds until all that is recorded is there; tries of each rule, and of one that seems slow, since a collection of
# garbage takes seconds; seconds of CPU that one may take.
WARM, TRIES, MORE_TRIES, LIMIT = 210, 3, 12, 1.0
# Seconds that the server has to become quiet, and that it may use of five then.
QUIET, IDLE = 180, 0.2
SITE = {
    "cluster": "a",
    "rules": {"jobstats": True},
    "exporter": {
        "counters": "extended",
        "counter_rows": ["DCGM_EXP_XID_ERRORS_TOTAL, counter, XIDs."],
        "tls": {"certificate": "/etc/x.crt", "key": "/etc/x.key"},
    },
}
FIXED: list[str] = []


class Pages(BaseHTTPRequestHandler):
    """What an exporter and our own metrics say of the GPUs of a part of the nodes: ``/3`` is the fourth part."""

    def do_GET(self) -> None:
        shard = int(self.path.rpartition("/")[2])
        body = f"{FIXED[shard]}{fleet.moving(shard)}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # At the end the server hangs up.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def configuration() -> dict[str, Any]:
    defaults, schema, compatibility = (
        yaml.safe_load((HERE / f"salt/dcgm/{name}.yaml").read_text())
        for name in ("defaults", "schema", "compatibility")
    )
    return resolve.configuration(defaults, schema, compatibility, SITE)


def write_configuration(folder: Path, port: int) -> None:
    files = rule_files.rule_files(configuration())
    for name, text in files.items():
        (folder / name).write_text(text)
    scrapes = [
        {
            "job_name": f"part-{shard}",
            "metrics_path": f"/{shard}",
            "honor_labels": True,
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        for shard in range(fleet.SHARDS)
    ]
    whole = {"global": {"scrape_interval": "30s", "scrape_timeout": "25s"}, "rule_files": [*files]}
    (folder / "prometheus.yml").write_text(json.dumps({**whole, "scrape_configs": scrapes}))


def ask(port: int, path: str) -> Any:
    with history.OPENER.open(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
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
    taken: list[tuple[float, float]] = []
    while len(taken) < TRIES or (min(taken)[0] > LIMIT / 2 and len(taken) < MORE_TRIES):
        begin, used = time.monotonic(), cpu(pid)
        ask(port, f"/api/v1/query?{query}")
        taken.append((cpu(pid) - used, time.monotonic() - begin))
    return min(one for one, _ in taken), min(one for _, one in taken)


def settle(pid: int) -> None:
    """Wait until a server that has nothing to scrape has written its blocks."""
    until = time.monotonic() + QUIET
    while time.monotonic() < until:
        used = cpu(pid)
        time.sleep(5)
        if cpu(pid) - used < IDLE:
            return


def remember(port: int) -> None:
    """Give a server what it would have of the past, once it answers."""
    until = time.monotonic() + 60
    while True:
        try:
            ask(port, "/api/v1/status/buildinfo")
            break
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    now = time.time()
    names = fleet.rows(configuration())
    for series, first, last in (
        (fleet.past_day(), now - 86400, now - 4500),
        ([*fleet.past_day(), *fleet.past_hour(names)], now - 4500, now),
    ):
        history.send(port, series, first, last)
    print(f"the past is there after {time.time() - now:.0f} s", flush=True)


def measure(program: str, port: int) -> dict[str, tuple[float, float]]:
    own = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "prometheus.yml").write_text("{}")
        command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{own}", "--log.level=error"]
        command += ["--web.enable-remote-write-receiver"]
        with subprocess.Popen(command) as process:
            try:
                remember(own)
                write_configuration(folder, port)
                process.send_signal(signal.SIGHUP)
                time.sleep(WARM)
                rules = [rule for group in ask(own, "/api/v1/rules")["groups"] for rule in group["rules"]]
                wrong = [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"]
                assert not wrong, wrong
                moment = time.time()
                (count,) = ask(own, "/api/v1/query?query=count(gpu_job:gpus_allocated:split)")["result"]
                print(f"{program}: {count['value'][1]} rows of who holds a GPU", flush=True)
                (folder / "prometheus.yml").write_text("{}")
                process.send_signal(signal.SIGHUP)
                settle(process.pid)
                return {rule["name"]: times(process.pid, own, rule["query"], moment) for rule in rules}
            finally:
                process.terminate()


def main() -> int:
    place = image.image_dir()
    programs = sys.argv[1:] or [str(place / "usr/bin/prometheus"), str(place / "opt/prometheus-3/bin/prometheus")]
    FIXED.extend(fleet.fixed(fleet.rows(configuration()), shard) for shard in range(fleet.SHARDS))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    worst, told = 0.0, {*alerts.names()}
    for program in programs:
        found = measure(program, server.server_address[1])
        for name, (used, taken) in sorted(found.items(), key=lambda one: -one[1][0]):
            print(f"{used:6.2f} s of CPU, {taken:6.2f} s  {name}")
        for what, mine in {"alerts": told & found.keys(), "recording rules": found.keys() - told}.items():
            print(f"{sum(found[name][0] for name in mine):6.2f} s of CPU for all {len(mine)} {what}", flush=True)
        worst = max(worst, *(used for used, _ in found.values()))
    server.shutdown()
    print(f"slowest rule: {worst:.2f} s of CPU; allowed: {LIMIT} s")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
