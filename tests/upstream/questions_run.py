"""Questions about running: start, exit codes, reload, signals, and the loss of the host engine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from questions_page import name, unique
from subject import Subject, listens, wait

GOOD = "DCGM_FI_DEV_GPU_TEMP, gauge, heat\n"
OTHER = "DCGM_FI_DEV_FB_USED, gauge, memory\n"
PROFILING = "DCGM_FI_PROF_DRAM_ACTIVE, gauge, share\n"
WRONG = "DCGM_FI_DEV_NO_SUCH, gauge, none\n"
# A reload is done after this time, and one that is dropped was dropped.
RELOAD = 4.0
# bcrypt of "secret".
HASH = "$2b$04$jRj.wlutGJbsgD4Q1JpHEezoRGycE3rEMJ7ezLBuz3Kt9qIe3AQga"

COUNTERS: dict[str, str] = {
    "an unknown field": WRONG,
    "an unknown counter of its own": "DCGM_EXP_NO_SUCH, gauge, x\n",
    "DCGM_EXP_P2P_STATUS": "DCGM_EXP_P2P_STATUS, gauge, x\n" + GOOD,
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS, gauge, x\n" + GOOD,
    "DCGM_FI_DEV_NVLINK_THROUGHPUT_TOTAL": "DCGM_FI_DEV_NVLINK_THROUGHPUT_TOTAL, gauge, x\n" + GOOD,
    "a tab before a name": "\t" + GOOD,
    "a tab before a type": GOOD.replace(", gauge", ",\tgauge"),
    "a tab after a name": GOOD.replace(", gauge", "\t,gauge"),
    "a quote after a blank": 'DCGM_FI_DEV_GPU_TEMP, gauge, "a, b"\n',
    "a quote without a blank": 'DCGM_FI_DEV_GPU_TEMP, gauge,"a, b"\n',
    "a wrong type": GOOD.replace("gauge", "speed"),
    "a wrong type of a counter of its own": "DCGM_EXP_XID_ERRORS_COUNT, speed, x\n" + GOOD,
    "two cells": "DCGM_FI_DEV_GPU_TEMP, gauge\n",
    "four cells": "DCGM_FI_DEV_GPU_TEMP, gauge, a, b\n",
    "a comment after a blank": " # x\n" + GOOD,
    "a comment and an empty line": "# x\n\n" + GOOD,
    "an empty file": "",
}


def stop(subject: Subject) -> int | None:
    """End the exporter by force and return its exit code."""
    if subject.process:
        subject.process.kill()
    return subject.ends()


def outcome(subject: Subject) -> str:
    """Return "serves", after which it is stopped, or the exit code of a start that failed."""
    if subject.serves():
        status = subject.get().status
        stop(subject)
        return "serves" if status == 200 else f"serves {status}"
    return f"exit {subject.ends()}"


def metrics(subject: Subject) -> list[str]:
    """Return the metrics of the page."""
    return unique([name(line) for line in subject.page()])


def counters_files(subject: Subject) -> Any:
    """What a start with each counters file comes to."""
    subject.use_engine()
    found = {}
    for case, text in COUNTERS.items():
        subject.replace_counters(text)
        subject.start()
        found[case] = outcome(subject)
    subject.counters.unlink()
    subject.start()
    found["no file"] = outcome(subject)
    return found


def _replaced(subject: Subject, text: str, is_read: Callable[[float], Any]) -> None:
    """Put other counters in place until they are read: a busy machine may look for changes only after the first."""
    for _ in range(5):
        subject.replace_counters(text)
        if is_read(RELOAD):
            return


def wrong_counters_while_it_runs(subject: Subject) -> Any:
    """Exit code after wrong counters came."""
    subject.run()
    _replaced(subject, WRONG, lambda seconds: subject.ends(seconds) is not None)
    return subject.ends(0.1)


def wrong_counters_and_a_signal(subject: Subject) -> Any:
    """Exit code of a SIGHUP after the counters file went away."""
    subject.run()
    subject.counters.unlink()
    time.sleep(0.5)
    alive = subject.process is not None and subject.process.poll() is None
    subject.send(signal.SIGHUP)
    return ["runs on" if alive else "ended", subject.ends()]


def reload_by_signal(subject: Subject) -> Any:
    """Which metrics are left after a SIGHUP, and whether the process is the same."""
    subject.replace_counters(GOOD + PROFILING)
    subject.run()
    before = metrics(subject)
    subject.send(signal.SIGHUP)
    time.sleep(RELOAD)
    return {"before": before, "after": metrics(subject), "ends": subject.ends(0.1)}


def reload_by_file(subject: Subject) -> Any:
    """Which metrics come after another counters file was put in place."""
    subject.replace_counters(GOOD + PROFILING)
    subject.run()
    other = OTHER + PROFILING
    _replaced(subject, other, lambda seconds: wait(lambda: "DCGM_FI_DEV_FB_USED" in metrics(subject), seconds))
    return metrics(subject)


def reload_by_date(subject: Subject) -> Any:
    """Which metrics are left after the same counters file came with another date."""
    subject.replace_counters(GOOD + PROFILING)
    subject.run()
    time.sleep(0.3)
    subject.replace_counters(GOOD + PROFILING)
    os.utime(subject.counters, (1, 1_700_000_000))
    time.sleep(RELOAD)
    return metrics(subject)


def reload_by_touch(subject: Subject) -> Any:
    """Which metrics are left after nothing but the date of the counters file changed."""
    subject.replace_counters(GOOD + PROFILING)
    subject.run()
    time.sleep(0.3)
    subprocess.run(["touch", subject.counters], check=True)
    time.sleep(RELOAD)
    return metrics(subject)


def second_reload(subject: Subject) -> Any:
    """Whether a reload half a second after another one counts."""
    subject.replace_counters(GOOD)
    subject.run()
    subject.send(signal.SIGHUP)
    time.sleep(0.5)
    subject.replace_counters(OTHER)
    time.sleep(RELOAD)
    return metrics(subject)


def reload_without_engine(subject: Subject) -> Any:
    """What a SIGHUP does while the engine is away, and what is shown when it is back."""
    subject.run(own_engine=True)
    subject.stop_engine()
    subject.send(signal.SIGHUP)
    code = subject.ends(RELOAD)
    if code is not None:
        return f"exit {code}"
    away = subject.get()
    subject.start_engine()
    time.sleep(0.5)
    back = subject.get()
    return {"away": [away.status, away.text], "back": [back.status, back.text]}


def loss_of_the_engine(subject: Subject) -> Any:
    """When the loss is noticed, and how."""
    subject.run("-c", "100", own_engine=True)
    subject.stop_engine()
    alive = subject.ends(1.5) is None
    found = {"unasked": "runs on" if alive else "ended", "health": subject.get("/health").status}
    return {**found, "page": subject.get().status or "cut", "exit": subject.ends()}


def engine_back_before_a_scrape(subject: Subject) -> Any:
    """Whether an engine that was away for a moment between two pages is missed."""
    subject.run(own_engine=True)
    subject.stop_engine()
    subject.start_engine()
    return {"page": subject.get().status or "cut", "exit": subject.ends()}


def signals(subject: Subject) -> Any:
    """Exit code by signal, and of SIGTERM when the engine is lost."""
    subject.start_engine()
    found = {}
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        subject.start()
        subject.serves()
        subject.send(one)
        found[one.name] = subject.ends()
    subject.start()
    subject.serves()
    subject.stop_engine()
    subject.send(signal.SIGTERM)
    return {**found, "SIGTERM without engine": subject.ends()}


def no_engine_at_the_start(subject: Subject) -> Any:
    """Exit code where nothing listens, and where no address was given but the variable is there."""
    subject.start()
    found = {"nobody listens": outcome(subject)}
    subject.start(remote=None, DCGM_REMOTE_HOSTENGINE_INFO="")
    return {**found, "an empty variable": outcome(subject)}


def no_libdcgm(subject: Subject) -> Any:
    """What it does where the loader knows no libdcgm.so.4: with a remote engine, and asked for its version."""
    subject.use_engine()
    subject.start(prefix=subject.program.without_dcgm)
    found = {"remote": outcome(subject)}
    subject.start("--version", prefix=subject.program.without_dcgm)
    return {**found, "--version": subject.ends()}


def no_driver(subject: Subject) -> Any:
    """What it does where NVML does not start: with a remote engine, and with one of its own."""
    subject.use_engine()
    subject.set_gpus("")
    subject.start()
    found = {"remote": outcome(subject)}
    subject.start(remote=None)
    return {**found, "embedded": outcome(subject)}


def no_gpus(subject: Subject) -> Any:
    """What an engine without GPUs comes to."""
    subject.run(profile="none")
    return [subject.get().status, subject.get().text]


def own_engine(subject: Subject) -> Any:
    """Metrics of the engine within the process, and the host label."""
    subject.start(remote=None)
    assert subject.serves(), subject.log()
    found = subject.page()
    label = f'ostname="{socket.gethostname()}"' in found[0]
    return [len(metrics(subject)), len(found), label]


def command_line(subject: Subject) -> Any:
    """What wrong and odd words on the command line come to."""
    subject.use_engine()
    cases = {
        "a wrong option": ["--nonsense"], "a wrong interval": ["-c", "soon"], "a wrong port": ["-a", "127.0.0.1:x"],
        "a wrong address": ["-a", "203.0.113.9:9400"], "a wrong format": ["--log-format", "xml"],
        "a word too many": ["word"], "--help": ["--help"], "no such web file": ["--web-config-file", "/nonexistent"],
        "--disable-startup-validate": ["--disable-startup-validate"],
    }  # fmt: skip
    found = {}
    for case, options in cases.items():
        subject.start(*options)
        found[case] = outcome(subject)
    with socket.socket() as other:
        other.bind(("127.0.0.1", subject.port))
        other.listen()
        subject.start()
        found["a port that is taken"] = f"exit {subject.ends()}"
    return found


def version(subject: Subject) -> Any:
    """What --version says, less the release."""
    subject.start("--version")
    return [subject.ends(), " ".join(subject.log().split()[:-1])]


def web_file(subject: Subject) -> Any:
    """Users of the web file: whether a new one counts at once, and what else may stand there."""
    path = Path(subject.folder) / "web.yml"
    path.write_text("http_server_config:\n  http2: true\n")
    subject.run("--web-config-file", str(path))
    found: dict[str, Any] = {"nobody": subject.get().status}
    path.write_text(f"basic_auth_users:\n  alice: {HASH}\n")
    found["a user since then"] = subject.get().status
    found["as that user"] = subject.get(Authorization="Basic YWxpY2U6c2VjcmV0").status
    found["with a wrong password"] = subject.get(Authorization="Basic YWxpY2U6d3Jvbmc=").status
    stop(subject)
    for case, text in {
        "an unknown key": "nonsense: x\n",
        "a certificate without key": "tls_server_config:\n  cert_file: web.pem\n",
    }.items():
        path.write_text(text)
        subject.start("--web-config-file", str(path))
        found[case] = outcome(subject)
    return {**found, "listens": listens(subject.port)}


QUESTIONS: list[Callable[[Subject], Any]] = [
    counters_files, wrong_counters_while_it_runs, wrong_counters_and_a_signal, reload_by_signal, reload_by_file,
    reload_by_date, reload_by_touch, second_reload, reload_without_engine, loss_of_the_engine,
    engine_back_before_a_scrape, signals, no_engine_at_the_start, no_libdcgm, no_driver, no_gpus, own_engine,
    command_line, version, web_file,
]  # fmt: skip
