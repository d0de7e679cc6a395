"""
A role call on a node: it takes its roles in, starts or stops the exporter as they say, and tells how it is.

Nothing is rendered and no file is asked for: what a role call needs, the last apply left on the node. So a role call
can never roll out a newer configuration.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from superpod_dcgm.base import boot, files, maintenance, own_code, paths, roles, systemd
from superpod_dcgm.exporter import installed, last_good, rows, service, verdict

# What a caller of another version asks for is not guessed.
VERSION = 1
# A start that takes longer is looked at again by the next call: no node waits for another.
_ANSWER_SECONDS = 10
# State, text, and what is odd with the page where somebody looked.
_Told = tuple[str, str] | tuple[str, str, list[str]]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """
    Work on the unit alone: states and role calls take the same lock, and none waits for it.

    :raises files.Busy: another one works on it.
    :raises OSError: /run cannot be written.
    """
    files.make_directory(paths.NODE_RUNTIME)
    with files.lock_local(paths.SERVICE_LOCK, 0):
        yield


def remember(
    name: str,
    url: str,
    timeout: int,
    others: Iterable[str],
    rules: dict[str, Any],
    state: str = "",
    pinned: tuple[str, int] = ("", 0),
) -> None:
    """
    Keep what a role call needs of the configuration; the apply that deploys writes it.

    :param rules: the section ``roles`` of the configuration.
    :param pinned: the release and its metric schema.
    :param state: directory of the node's records; by default the one of ``paths``.
    :raises OSError: it cannot be written.
    """
    known = {key: rules[key] for key in ("source", "run_on")}
    record = {"unit": name, "url": url, "timeout": timeout, "files": list(others), "roles": known, "pinned": pinned}
    files.make_directory(state or paths.NODE_STATE)
    files.write_atomic(os.path.join(state or paths.NODE_STATE, paths.SERVICE_RECORD), json.dumps(record) + "\n")


def recall(state: str = "") -> dict[str, Any] | None:
    """Return what ``remember`` kept; None where no apply ever came so far, or what it left is damaged."""
    record = files.read_json(os.path.join(state or paths.NODE_STATE, paths.SERVICE_RECORD))
    return record if isinstance(record, dict) and _is_whole(record) else None


def _is_whole(record: dict[str, Any]) -> bool:
    rules = record.get("roles")
    kinds: dict[str, Any] = {"unit": str, "url": str, "timeout": (int, float), "files": list}
    plain = all(isinstance(record.get(key), kind) for key, kind in kinds.items())
    return plain and isinstance(rules, dict) and "source" in rules and isinstance(rules.get("run_on"), list)


def applied(state: str = "") -> dict[str, Any]:
    """Return the record of the last apply that succeeded: ``digest``, ``configuration``, ``places``; or empty."""
    record = files.read_json(os.path.join(state or paths.NODE_STATE, paths.APPLIED_RECORD))
    return record if isinstance(record, dict) else {}


def lacking(state: str = "") -> list[str]:
    """
    Return what the last apply put on this node and is not there any more, or not as it left it.

    Links count by themselves: what they lead to may be on shared storage, which may hang.
    """
    last = applied(state)
    places = last.get("places")
    named = [path for path in places if isinstance(path, str)] if isinstance(places, list) else []
    found = [path for path in named if not os.path.lexists(path)]
    if not recall(state):
        record = os.path.join(state or paths.NODE_STATE, paths.SERVICE_RECORD)
        return [*found, f"the content of {record}"] if last and os.path.lexists(record) else found
    if installed.counters_edited():
        found.append(f"the content that the states gave {paths.EXPORTER_COUNTERS}")
    binary = os.path.join(paths.EXPORTER_ROOT, installed.linked_release() or "-", "dcgm-exporter")
    return [*found, *(path for path in (paths.UNIT_FILE, binary) if path not in found and not os.path.lexists(path))]


def condition(state: str = "") -> dict[str, Any]:
    """Return how this node is, as role calls and ``bcm.health`` tell it."""
    record, last = recall(state), applied(state)
    return {
        "version": VERSION,
        "boot": boot.identity(),
        "deployed": bool(record or last),
        "applied": last.get("digest"),
        "release": installed.linked_release(),
        "code": own_code.digest(),
        "lacking": lacking(state),
    }


def answer(
    entry: dict[str, Any],
    seq: int,
    now: str,
    at_work: str,
    state: str = "",
    unit: Callable[[str, str, int], service.Unit] = service.Unit,
) -> dict[str, Any]:
    """
    Take roles in, and start or stop the exporter as they say; one that lost its profiling rows is restarted.

    :param entry: ``{"roles": [...], "category": ...}``
    :param seq: number of the change set.
    :param now: this moment, as records show it.
    :param at_work: why the service may not be touched at this moment, such as a state run; or empty.
    :param unit: makes the exporter's unit of name, address and seconds; tests give their own.
    :return: ``condition``, and ``changed`` (the roles are new), ``state`` and ``text``. ``state``: ``ok``, ``idle``
        (nothing is deployed here), ``busy``, ``starting``, ``lacking``, or ``failed``. ``shortages`` where it runs:
        what is odd with what it shows, in sentences.
    :raises OSError: the roles cannot be stored.
    :raises ValueError: the entry has no list of role names.
    """
    changed = roles.store(os.path.join(state or paths.NODE_STATE, paths.ROLES_RECORD), entry, seq, now)
    record = recall(state)
    if at_work:
        # The first apply too: what it has not put here yet is not missing.
        how, text, odd = "busy", at_work, list[list[str]]()
    else:
        how, text, *odd = ("idle", "nothing is deployed here") if record is None else _follow(record, unit)
    found = condition(state)
    if found["lacking"] and how != "busy":
        how, text = "lacking", f"{', '.join(found['lacking'])} is missing"
    told = {"changed": changed, "roles": sorted(entry["roles"]), "state": how, "text": text}
    return {
        **found,
        **told,
        **({"shortages": odd[0]} if odd else {}),
        "service": _service(unit) if record else "stopped",
    }


def _service(make: Callable[[str, str, int], service.Unit]) -> str | None:
    try:
        return "running" if systemd.is_up(make(paths.UNIT, "", 0).show(paths.UNIT)) else "stopped"
    except systemd.UnitError:
        return None


def _follow(record: dict[str, Any], make: Callable[[str, str, int], service.Unit]) -> _Told:
    if not os.path.lexists(paths.UNIT_FILE):
        return "lacking", f"{paths.UNIT_FILE} is missing"
    unit = make(record["unit"], record["url"], min(record["timeout"], _ANSWER_SECONDS))
    decision = roles.decide(record["roles"], roles.names_in(roles.read(paths.ROLES_FILE)))
    if (freed := maintenance.held()) and decision != "stopped":
        return _noted(unit, decision, maintenance.sentence(freed))
    desired = last_good.fingerprint(installed.linked_release(), tuple(record.get("files") or ()))
    try:
        with alone():
            done = _carried_out(unit, decision, desired)
        # Without the lock: whoever comes meanwhile may restart what is waited for.
        if decision == "running":
            return _looked_at(unit, desired, record["timeout"], done)
    except files.Busy as exc:
        return "busy", str(exc)
    except (systemd.UnitError, OSError) as exc:
        return "failed", str(exc)
    return "ok", done or f"{unit.name} is as the roles say"


def _noted(unit: service.Unit, decision: roles.Decision, sentence: str) -> tuple[str, str]:
    """Start nothing while GPUs are free for maintenance; dcgm_gpu.resume or a reboot does it."""
    try:
        with alone():
            service.switch(unit, decision, False)
    except files.Busy as exc:
        return "busy", str(exc)
    except (systemd.UnitError, OSError) as exc:
        return "failed", str(exc)
    return "ok", sentence


def _carried_out(unit: service.Unit, decision: roles.Decision, desired: dict[str, Any]) -> str:
    """Start or stop the unit, and return what was done. One that runs is restarted for lost profiling rows alone."""
    changes = service.plan(unit, decision, desired, False, False)
    if changes.get("service", {}).get("new") == "restarted":
        del changes["service"]
    if decision != "stopped":
        service.let_start()
    if not changes:
        return ""
    if "service" in changes and decision == "running":
        _note_start(desired)
    service.switch(unit, decision, "service" in changes)
    what = changes.get("service") or changes["boot"]
    return f"{unit.name}: {what['old']} -> {what['new']}"


def _looked_at(unit: service.Unit, desired: dict[str, Any], timeout: int, done: str) -> _Told:
    """Whether it answers, and shows what it should."""
    age = _age(desired)
    if problem := unit.problem():
        return _no_answer(unit, desired, timeout, age, problem)
    good, now, wanted = last_good.read(), unit.look(unit.url, unit.timeout), rows.wanted()
    known, how = good.get("profiling"), verdict.profiling(good, now)
    if age is not None:
        # They come with the second sample. Only a restart that was to bring them back waits for that.
        if how == "gone" and known == "gone" and age < timeout:
            return "starting", f"{unit.name} runs and answers, without its DCGM_FI_PROF_ rows so far"
        if not now.profiled and known != "gone" and age < verdict.second_sample():
            how, wanted = known, replace(wanted, profiling=False)
        last_good.remember(desired, {"url": unit.url, "timeout": timeout, "profiling": how})
        _forget_start()
    # What is not as it was last good would be rolled out by a restart: that is for an apply, or a repair.
    elif not service.is_stale(desired) and (lost := verdict.lost_profiling(unit, now)):
        _bring_back(unit, desired)
        return "starting", f"{lost}: restarted"
    elif how == "shown":
        last_good.note_profiling(how)
    return "ok", done or f"{unit.name} runs and answers", verdict.shortages(unit, now, wanted=wanted)


def _no_answer(unit: service.Unit, desired: dict[str, Any], timeout: int, age: float | None, problem: str) -> _Told:
    """What was started and does not answer in the time that an apply gives it is taken back."""
    if age is None or age < timeout:
        return ("failed" if age is None else "starting"), problem
    if unit.look(unit.url, unit.timeout).fault == "slow":
        return "failed", f"{problem}. It is slow and may be right: nothing is taken back"
    with alone():
        _forget_start()
        back = service.go_back(unit, last_good.read(), desired, unit.timeout)
        return "failed", f"{problem}. {back}"


def _bring_back(unit: service.Unit, desired: dict[str, Any]) -> None:
    with alone():
        _note_start(desired)
        # Once: if they do not come back with it, another restart does not bring them either.
        last_good.note_profiling("gone")
        unit.systemctl("restart", unit.name)


def _age(desired: dict[str, Any]) -> float | None:
    """Seconds since a role call started it as it is to be; None where none did, or it was looked at since."""
    started = files.read_json(paths.STARTED_RECORD)
    ours = isinstance(started, dict) and started.get("desired") == desired and isinstance(started.get("at"), float)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started["at"] if ours else None


def _note_start(desired: dict[str, Any]) -> None:
    started = {"at": time.clock_gettime(time.CLOCK_BOOTTIME), "desired": desired}
    files.write_atomic(paths.STARTED_RECORD, json.dumps(started) + "\n")


def _forget_start() -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(paths.STARTED_RECORD)
