"""Up, and what an administrator does by hand on a real site: configuration, credential, state.apply."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from superpod.errors import SuperpodError
from superpod.lab import building
from superpod.lab.lab import Lab
from superpod.lab.layout import CONFIG, HEAD

ROLES = "/var/lib/superpod-dcgm/roles.json"
CERTIFICATE, KEY = "/etc/superpod-dcgm/bcm.pem", "/etc/superpod-dcgm/bcm.key"
ADMIN_READY = "test -s /root/.cm/admin.pem && cmsh -n -c 'device list' > /dev/null"
# What the master of a bare lab adds to every pillar (master.d/lab-sources.conf).
SOURCES = "/etc/lab/sources.yaml"
CREATE = f"cert; createcertificate 2048 superpod-dcgm x x x x xx readonly root 3650 {KEY} {CERTIFICATE}"


def wait_until(what: str, condition: Callable[[], Any], timeout: float = 60, every: float = 0.3) -> Any:
    """Ask until the answer is true; the answer, or an error that says what was waited for."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise SuperpodError(f"Waited {timeout:.0f} s in vain: {what}.")
        time.sleep(every)


def render(template: str, values: dict[str, Any]) -> str:
    """Fill in @key@ from the values."""
    for key, value in values.items():
        template = template.replace(f"@{key}@", str(value))
    return template


def put(lab: Lab, path: str, text: str) -> None:
    """Write a file on the head node."""
    lab.exec(HEAD, ["mkdir", "-p", path.rpartition("/")[0]], check=True)
    lab.exec(HEAD, ["tee", path], check=True, input=text)


def up(
    lab: Lab,
    nodes: int | None = None,
    source: str | None = None,
    deploy: bool = True,
    bare: bool = False,
    releases: Sequence[str] = (),
    grafana: Path | None = None,
) -> None:
    """
    Start what is not running, deploy, and leave alone what is right.

    :param source: repository of the true exporter.
    :param releases: the first is deployed, the others can be built.
    :param grafana: package of Grafana; None: as before.
    :param bare: stop where README begins. A lab that began so stays so: what is configured in it is not the lab's.
    """
    with lab.locked():
        lab.start(nodes, source, bare, releases, grafana)
        if lab.bare:
            prepare_bare(lab)
            return
        prepare(lab)
        if deploy:
            apply(lab)


def prepare(lab: Lab) -> None:
    """Everything up to the first state.apply; changes only what is not so already."""
    lab.progress("Pillar, BCM's devices, minions")
    for source in sorted((CONFIG / "pillar").iterdir()):
        put(lab, f"/srv/pillar/{source.name}", render(source.read_text(), lab.record))
    register(lab)
    wait_answering(lab)
    make_credential(lab)


def prepare_bare(lab: Lab) -> None:
    """What a site has before it has heard of this project, and where in the lab its sources are."""
    lab.progress("BCM's devices, minions")
    put(lab, SOURCES, render((CONFIG / "sources.yaml.in").read_text(), lab.record))
    register(lab)
    wait_answering(lab)


def register(lab: Lab) -> None:
    """Make the nodes known to the stand-in of CMDaemon."""
    devices = json.loads(lab.exec(HEAD, ["lab-cmd", "devices", "--json"], check=True).stdout)
    known = {device["hostname"] for device in devices}
    if known.isdisjoint(lab.nodes):
        lab.exec(HEAD, ["lab-cmd", "init", "--nodes", ",".join(lab.nodes)], check=True)
        return
    for node in sorted(set(lab.nodes) - known):
        lab.exec(HEAD, ["lab-cmd", "add", node], check=True)


def wait_answering(lab: Lab) -> None:
    """Wait until all minions answer the master."""
    # A ping that comes before a minion has subscribed waits out its whole timeout.
    wait_until("all minions are connected to the master", lambda: connected(lab) >= len(lab.machines))
    wait_until("all minions answer the master", lambda: answering(lab) == set(lab.machines))


def connected(lab: Lab) -> int:
    """Number of connections to the master's publisher."""
    return len(lab.exec(HEAD, ["ss", "-Htn", "state", "established", "sport", "=", ":4505"]).stdout.splitlines())


def answering(lab: Lab) -> set[str]:
    """Minions that answer a ping."""
    done = lab.exec(HEAD, ["salt", "--out=json", "--static", "--timeout=2", "*", "test.ping"])
    try:
        return {minion for minion, answer in json.loads(done.stdout).items() if answer is True}
    except ValueError:
        return set()


def make_credential(lab: Lab) -> None:
    """Have the head's cluster manager make the read-only certificate of the watcher."""
    if lab.exec(HEAD, ["test", "-s", CERTIFICATE]).returncode == 0:
        return
    lab.progress("Read-only BCM certificate for the watcher")
    wait_until(
        "cmd.service has made its certificates", lambda: lab.exec(HEAD, ["bash", "-c", ADMIN_READY]).returncode == 0
    )
    lab.exec(HEAD, ["install", "-d", "-m", "700", CERTIFICATE.rpartition("/")[0]], check=True)
    lab.exec(HEAD, ["cmsh", "-n", "-c", CREATE], check=True)


def apply(lab: Lab) -> None:
    """Apply the states: first the head node, then the nodes, which the watcher then calls with their roles."""
    lab.progress(f"salt {HEAD} state.apply")
    apply_head(lab)
    lab.progress("salt 'dgx-*' state.apply")
    with building.said(lab):
        apply_nodes(lab)
    lab.progress("First roles from the watcher")
    wait_delivered(lab)


def apply_head(lab: Lab) -> dict[str, Any]:
    """Apply the head node's states, and wait for the master if they have it restarted in a moment."""
    before = master_process(lab)
    answers = apply_states(lab, HEAD)
    if restarts_master(answers):
        wait_until("the Salt master has been restarted", lambda: master_process(lab) not in ("0", before))
        wait_answering(lab)
    return answers


def restarts_master(answers: dict[str, Any]) -> bool:
    """True if a state of the answers had something restart the master."""
    states = [state for found in answers.values() for state in found.values()]
    return any(state.get("changes") and "restart salt-master" in str(state.get("name")) for state in states)


def master_process(lab: Lab) -> str:
    """Number of the master's process inside its machine; 0 while it does not run."""
    return lab.exec(HEAD, ["systemctl", "show", "-P", "MainPID", "salt-master"], check=True).stdout.strip()


def wait_delivered(lab: Lab) -> None:
    """Wait until every node has its roles."""
    for node in lab.nodes:
        wait_until(f"roles on {node}", partial(_has_roles, lab, node), 90)


def _has_roles(lab: Lab, node: str) -> bool:
    return lab.exec(node, ["test", "-s", ROLES]).returncode == 0


def apply_nodes(lab: Lab) -> dict[str, Any]:
    """Apply the nodes' states."""
    return apply_states(lab, "dgx-*")


def apply_states(lab: Lab, target: str) -> dict[str, Any]:
    """Apply the highstate; an error names each failed state and why."""
    answers, code = apply_when_free(lab, target, "state.apply")
    failed = failures(answers)
    if failed or code:
        raise SuperpodError("\n".join([f"salt '{target}' state.apply failed (exit code {code}):", *failed]))
    return answers


def apply_when_free(lab: Lab, target: str, *argv: str, timeout: float = 600) -> tuple[dict[str, Any], int]:
    """
    Apply states, again on nodes that refused because the watcher was applying states to them.

    Not with `queue`: with True a minion of Salt 3008 gives no answer, and with a number two that wait at the same
    time wait for each other for ever (salt/utils/state.py, check_prior_running_states).
    """
    answers, code = lab.salt(target, *argv)
    deadline = time.monotonic() + timeout
    while (refused := [name for name, answer in answers.items() if _refused(answer)]) and time.monotonic() < deadline:
        time.sleep(1)
        others = {name: answer for name, answer in answers.items() if name not in refused}
        again, code = lab.salt("-L", ",".join(refused), *argv)
        code = code or int(bool(failures(others)))
        answers = {**others, **again}
    return answers, code


def _refused(answer: Any) -> bool:
    return isinstance(answer, list) and any("is running as PID" in str(line) for line in answer)


def failures(answers: dict[str, Any]) -> list[str]:
    """One line per failed state of a state run, or per error before it."""
    lines = []
    for minion, states in sorted(answers.items()):
        if not isinstance(states, dict):
            text = " ".join(states) if isinstance(states, list) else str(states)
            lines.append(f"  {minion}: {text}")
            continue
        for state in states.values():
            if state.get("result") is False:
                lines.append(f"  {minion}: {state.get('__id__')}: {str(state.get('comment')).strip()}")
    return lines
