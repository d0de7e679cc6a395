"""A lab by name: what the command line and the tests do with it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from superpod.errors import SuperpodError
from superpod.lab import forward, grafana, site, sources, upstream
from superpod.lab.holder import Holder
from superpod.lab.image import ensure_image, locked
from superpod.lab.layout import HEAD, HEAD_ALIAS, MAX_NODES, Layout, node_names, state_root
from superpod.lab.machine import Machine
from superpod.ui import LOGS

Progress = Callable[[str], None]


def parse_answers(text: str) -> dict[str, Any]:
    """Merge the JSON objects that salt prints, one per minion."""
    answers: dict[str, Any] = {}
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        found, end = decoder.raw_decode(rest)
        answers |= found
        rest = rest[end:].lstrip()
    return answers


class Lab:
    """A miniature SuperPOD; labs of different names do not see each other."""

    def __init__(self, name: str | None = None, progress: Progress | None = None, log: Path | None = None) -> None:
        self.name = name or os.environ.get("SUPERPOD_LAB") or "default"
        self.layout = Layout(self.name)
        self.holder = Holder(self.layout)
        self.progress: Progress = progress or (lambda _message: None)
        self.log = log or LOGS / f"lab-{self.name}.log"

    # What the lab is made of

    @property
    def record(self) -> dict[str, Any]:
        """What the lab was started with; empty when there is none."""
        try:
            return dict(json.loads(self.layout.record.read_text()))
        except FileNotFoundError:
            return {}

    @property
    def bare(self) -> bool:
        """True if nothing of this project was configured, so that README can be followed from its beginning."""
        return bool(self.record.get("bare"))

    @property
    def nodes(self) -> list[str]:
        """Names of the DGX nodes."""
        return node_names(int(self.record.get("nodes", 0)))

    @property
    def machines(self) -> list[str]:
        """Names of all machines."""
        return [HEAD, *self.nodes] if self.record else []

    def machine(self, name: str) -> Machine:
        """One machine, which must be of this lab; the head also by its alias."""
        name = HEAD if name == HEAD_ALIAS else name
        if name not in self.machines:
            known = ", ".join(self.machines) or "none: the lab is not running"
            raise SuperpodError(f"There is no machine '{name}' in the lab '{self.name}' (machines: {known}).", 2)
        return Machine(name, self.holder, Path(self.record["image"]), self.bare)

    def locked(self) -> AbstractContextManager[None]:
        """For whoever changes the lab: others wait until it is done."""
        return locked(self.layout.lock)

    # Up and down

    def start(
        self,
        nodes: int | None = None,
        source: str | None = None,
        bare: bool = False,
        releases: Sequence[str] = (),
        package: Path | None = None,
    ) -> None:
        """
        Start what is not running, and leave alone what is right; whoever calls it holds the lock.

        :param source: repository of the true exporter; None: as before.
        :param releases: the first is to run, the others can be built; none: as before.
        :param package: of Grafana, which the head is to run; None: as before.
        """
        self._refuse(bare)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._make(nodes, source, bare, releases, package)
        self._boot()
        self._repair()

    def _refuse(self, bare: bool) -> None:
        """Stop where the lab that is there cannot become what is asked for."""
        if self.layout.disk(HEAD_ALIAS).exists():
            raise SuperpodError(f"The lab '{self.name}' is of an earlier version: take it down, then start it again.")
        if bare and self.record and not self.bare:
            raise SuperpodError(f"The lab '{self.name}' is configured already; for a bare one, take it down first.", 2)

    def _make(
        self, nodes: int | None, source: str | None, bare: bool, releases: Sequence[str], package: Path | None
    ) -> None:
        before = self.record
        count = self._count(nodes, before)
        image = Path(before["image"]) if self.holder.pid and before else ensure_image(self.log, self.progress)
        self.layout.root.mkdir(parents=True, exist_ok=True)
        self.layout.shared.mkdir(mode=0o755, exist_ok=True)
        os.chmod(self.layout.shared, 0o755)
        # BCM has it before anything of ours.
        (self.layout.shared / "apps").mkdir(mode=0o755, exist_ok=True)
        offered = self._offer(upstream.place_of(source) if source else before.get("upstream", ""), releases)
        dashboards = grafana.offer(self.layout.shared, package) if package else before.get("grafana", grafana.NONE)
        site.make_keys(self.layout, count)
        started = before.get("started") or datetime.now(timezone.utc).isoformat(timespec="seconds")
        given = {"nodes": count, "image": str(image), "started": started, "bare": bare or self.bare}
        self.layout.record.write_text(json.dumps({**given, **offered, "grafana": dashboards}, indent=2) + "\n")
        if before and count > before["nodes"] and self.holder.pid:
            self._grow(count)

    def _offer(self, source: str, releases: Sequence[str]) -> dict[str, str]:
        """Put on the shared storage what a site's mirror has; how the record names it."""
        place, wanted = self.layout.shared / "lab", list(releases) or [self.record.get("release", upstream.RELEASE)]
        self.progress("Go archive and upstream repository on the shared storage")
        go = sources.ensure_go(place)
        return {**go, **upstream.ensure(place, source, wanted, self.progress)}

    def _count(self, wanted: int | None, before: dict[str, Any]) -> int:
        current = int(before.get("nodes", 0))
        count = wanted or current or 2
        if not 1 <= count <= MAX_NODES:
            raise SuperpodError(f"A lab has 1 to {MAX_NODES} nodes, not {count}.", 2)
        if count < current:
            raise SuperpodError(
                f"The lab '{self.name}' has {current} nodes; to make it smaller, take it down first.", 2
            )
        return count

    def _grow(self, count: int) -> None:
        """Tell the running machines of nodes that are about to join."""
        owner = "salt:salt"
        head = self.machine(HEAD)
        for node in node_names(count):
            path = f"/etc/salt/pki/master/minions/{node}"
            self.exec(HEAD, ["tee", path], input=site.minion_key(self.layout, node).decode(), check=True)
            self.exec(HEAD, ["chown", owner, path], check=True)
        for name in self.machines:
            machine = self.machine(name)
            if machine.pid:
                self.exec(name, ["tee", "/etc/slurm/slurm.conf"], input=site.slurm_conf(count), check=True)
        if head.pid:
            self.exec(HEAD, ["systemctl", "restart", "slurmctld"], check=True)
            for name in self.nodes:
                if self.machine(name).pid:
                    self.exec(name, ["systemctl", "restart", "slurmd"], check=True)

    def _boot(self) -> None:
        if not self.holder.pid:
            self.progress("Network and namespaces")
            self.holder.start()
        off = [name for name in self.machines if self.machine(name).pid is None]
        if off:
            self.progress(f"Booting {', '.join(off)}")
            self._each(off, lambda machine: machine.start(len(self.nodes)))
            self._each(off, lambda machine: machine.wait_booted())

    def _each(self, names: Sequence[str], action: Callable[[Machine], Any]) -> None:
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda name: action(self.machine(name)), names))

    def _repair(self) -> None:
        """Start units that should run and do not, and say which they were."""
        for name in self.machines:
            stopped = self.stopped_units(name)
            if stopped:
                self.progress(f"{name}: starting {', '.join(stopped)}")
                self.exec(name, ["systemctl", "reset-failed", *stopped])
                self.exec(name, ["systemctl", "start", *stopped])
                left = self.stopped_units(name)
                if left:
                    self.progress(f"{name}: does not start: {', '.join(left)}")

    def stopped_units(self, name: str) -> list[str]:
        """Units of the machine's image that should run and do not."""
        wanted = [f"{unit}.service" for unit in site.units_of(name)]
        done = self.exec(name, ["systemctl", "show", "-P", "ActiveState", *wanted])
        states = [line for line in done.stdout.splitlines() if line]
        return [
            unit
            for unit, state in zip(wanted, states, strict=True)
            if state not in ("active", "activating", "reloading")
        ]

    def down(self) -> None:
        """Take everything away at once: processes, and with them mounts, links and namespaces; then the files."""
        with self.locked():
            self.holder.kill()
            if self.layout.root.exists():
                shutil.rmtree(self.layout.root)
        self.layout.lock.unlink(missing_ok=True)
        # It is not empty where there are other labs.
        with contextlib.suppress(OSError):
            state_root().rmdir()

    # One machine

    def exec(
        self, node: str, argv: Sequence[str], check: bool = False, timeout: float = 600, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a machine; with check, an error quotes the last line it said."""
        done = self.machine(node).exec(argv, timeout, input)
        if check and done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing said").splitlines()[-1]
            raise SuperpodError(f"{node}: {' '.join(argv[:4])} ended with {done.returncode}: {said}")
        return done

    def reboot(self, node: str, provision: bool = False) -> None:
        """Shut a machine down in order and start it again; with provision its disk becomes the image again first."""
        with self.locked():
            machine = self.machine(node)
            machine.stop()
            if provision:
                machine.provision(len(self.nodes))
            machine.start(len(self.nodes))
            machine.wait_booted()

    def kill(self, node: str) -> None:
        """Cut a machine's power; `up` starts it again."""
        with self.locked():
            self.machine(node).kill()

    # The cluster

    def salt(self, *argv: str, timeout: float = 1200) -> tuple[dict[str, Any], int]:
        """Run salt on the head node; the answers by minion, and the exit code."""
        # After this time salt asks whether the job still runs; a busy machine may not answer that soon enough.
        # Without --static, with which salt exits with 0 whatever the states did.
        done = self.exec(HEAD, ["salt", "--out=json", "--timeout=60", *argv], timeout=timeout)
        try:
            return parse_answers(done.stdout), done.returncode
        except ValueError:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise SuperpodError(f"salt {' '.join(argv)}: {said[-1] if said else 'no answer'}") from None

    def roles(self, node: str, *changes: str) -> list[str]:
        """A node's roles in the stand-in of CMDaemon, after changes such as +slurmclient or -slurmclient."""
        done = self.exec(HEAD, ["lab-cmd", "roles", node, *changes], check=True)
        return done.stdout.replace(",", " ").split()

    def fault(self, name: str, on: bool) -> None:
        """Switch a fault of the stand-in of CMDaemon."""
        self.exec(HEAD, ["lab-cmd", "fault", name, "on" if on else "off"], check=True)

    def run_job(self, gpus: int = 2, seconds: int = 300, node: str | None = None) -> int:
        """Submit a job as an ordinary user; its id."""
        where = ["--nodelist", node] if node else []
        options = f"--parsable --chdir=/tmp --output=/dev/null --gpus-per-node={gpus} --nodes=1".split()
        argv = ["runuser", "-u", "alice", "--", "sbatch", *options, *where, "--wrap", f"sleep {seconds}"]
        return int(self.exec(HEAD, argv, check=True).stdout.strip().split(";")[0])

    def http(self, url: str, *options: str) -> tuple[int, str]:
        """Fetch a URL from the head node; status (0: no connection) and body."""
        done = self.exec(HEAD, ["curl", "-sS", "--max-time", "10", "-w", "\n%{http_code}", *options, url])
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def prometheus(self, query: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        status, body = self.http(f"http://{HEAD}:9090/api/v1/query", "--get", "--data-urlencode", f"query={query}")
        if status != 200:
            raise SuperpodError(f"Prometheus answered {status} to {query}: {body.strip()[:200]}")
        return list(json.loads(body)["data"]["result"])

    def prometheus_address(self) -> str:
        """An address on this machine's loopback that leads to the lab's Prometheus."""
        return forward.ensure(self.layout, self.holder, 9090)
