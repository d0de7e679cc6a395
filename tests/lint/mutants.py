"""
Faults planted in what decides, restarts and rolls back, each in a copy of the code; the tables must find every one.

A program, since the tables must import the copy: ``mutants.py FOLDER`` prints the faults that no test found.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import sys
from pathlib import Path

import pytest

# Not ours, and slow to import: once here instead of in every child.
import requests  # noqa: F401

REPOSITORY = Path(__file__).resolve().parents[2]
TABLES = (
    "tests/unit/base/test_decision.py",
    *(f"tests/unit/exporter/test_{name}.py" for name in ("service", "gate", "last_good")),
)
SERVICE, GOOD, ROLES = "exporter/service.py", "exporter/last_good.py", "base/roles.py"
UNIT, VERDICT, GATE = "exporter/unit.py", "exporter/verdict.py", "exporter/gate.py"
# fault: (file, text that is there once, what stands there instead)
FAULTS = {
    "an unknown decision stops": (SERVICE, '"unknown": up}', '"unknown": False}'),
    "an unknown decision starts": (SERVICE, '"unknown": up}', '"unknown": True}'),
    "an unknown decision changes the boot": (SERVICE, 'decision != "unknown" and (enabled', "(enabled"),
    "a stale configuration is no reason": (SERVICE, "is_stale(desired) or (mend", "(mend"),
    "a watched change is no reason": (SERVICE, "elif up and (changed or found", "elif up and (found"),
    "the flag does not count": (SERVICE, "(enabled, flag) != (target, target)", "enabled != target"),
    "the release is not linked": (SERVICE, 'if "release" in changes:', "if False:"),
    "the unit is not restarted": (
        SERVICE,
        '    if restart:\n        unit.systemctl("restart", unit.name)\n',
        "",
    ),
    "the unit is restarted without a reason": (
        SERVICE,
        'switch(unit, decision, "service" in changes)',
        "switch(unit, decision, True)",
    ),
    "the unit is not stopped": (SERVICE, 'unit.systemctl("disable", "--now"', 'unit.systemctl("disable"'),
    "the unit is not enabled": (SERVICE, 'unit.systemctl("enable", unit.name)', "pass"),
    "the flag stays": (SERVICE, "os.unlink(paths.ENABLED_FLAG)", "pass"),
    "nobody waits for an answer": (
        UNIT,
        "reason = self.await_metrics(self.name, self.url, self.timeout, patience)",
        'reason = ""',
    ),
    "remembered before it answered": (
        SERVICE,
        "    since = time.monotonic()\n    switch(",
        "    last_good.remember(desired)\n    since = time.monotonic()\n    switch(",
    ),
    "never remembered": (SERVICE, "    last_good.remember(desired, asked)\n", ""),
    "how it was asked is forgotten": (SERVICE, "last_good.remember(desired, asked)", "last_good.remember(desired)"),
    "going back asks what failed": (SERVICE, "unit, put_back = unit.as_in(good, longest), ", "unit, put_back = unit, "),
    "where it listened is not looked up": (
        UNIT,
        "environment.metrics_url(environment.read()) or self.url",
        "self.url",
    ),
    "a held port is no obstacle": (SERVICE, 'if "service" in found and target:', "if False:"),
    "a port is looked at although nothing starts": (SERVICE, 'if "service" in found and target:', "if True:"),
    "another's program is started": (SERVICE, "if os.path.lexists(paths.EXPORTER_LINK) and", "if False and"),
    "why it does not answer is not asked": (UNIT, "self.explain(self.name, since) if reason", "'' if reason"),
    "what is missing is not taken back": (SERVICE, "if verdict.is_bad else", "if False else"),
    "everything is taken back": (SERVICE, "if verdict.is_bad else", "if True else"),
    "what was noted before counts for ever": (SERVICE, "os.unlink(paths.SHOWN_RECORD)", "pass"),
    "nobody looks before the change": (SERVICE, "if before is None and systemd.is_up", "if False and systemd.is_up"),
    "a GPU that is gone is not missed": (GATE, "if lost := before.gpus - now.gpus:", "if lost := now.gpus - now.gpus:"),
    "a dead GPU is missed": (GATE, "if lost := before.gpus - now.gpus:", "if lost := before.gpus:"),
    "profiling rows that nobody wants are missed": (GATE, "if wanted.profiling and (lost :=", "if (lost :="),
    "nobody waits for late rows": (GATE, "or time.monotonic() > deadline:", "or True:"),
    "an empty page is good": (VERDICT, "if gate.is_empty(now, wanted, known) and before is None:", "if False:"),
    "an empty page gets no second start": (
        VERDICT,
        "if gate.is_empty(now, wanted, known) and not (before",
        "if False and not (before",
    ),
    "what is slow is dead": (VERDICT, "if now.fault or now.seconds <= patience:", "if True:"),
    "what failed before is taken back": (VERDICT, "same = now.fault ==", "same = None =="),
    "lost profiling rows are restarted for ever": (VERDICT, 'or (known == "gone" and not touched)', ""),
    "profiling rows that never were are lost": (VERDICT, 'if known not in ("shown", "gone") or not', "if not"),
    "no way back": (SERVICE, "if not last_good.can_go_back(good, bad):", "if True:"),
    "a way back to nothing": (SERVICE, "if not last_good.can_go_back(good, bad):", "if not good:"),
    "files are not put back": (
        SERVICE,
        "    last_good.restore(good)\n",
        "    files.link_atomic(good['release'], paths.EXPORTER_CURRENT)\n",
    ),
    "the link is not put back": (GOOD, '    files.link_atomic(good["release"], paths.EXPORTER_CURRENT)\n', ""),
    "owners are lost": (GOOD, "os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)", "pass"),
    "modes are lost": (GOOD, "shutil.copy2(source", "shutil.copyfile(source"),
    "a link becomes a file": (
        GOOD,
        "shutil.copy2(source, target, follow_symlinks=False)",
        "shutil.copy2(source, target)",
    ),
    "a lost copy is passed over": (GOOD, "if digest and not os.path.lexists(kept):", "if False:"),
    "a release that was built again is good": (
        GOOD,
        'if not release or _digest(binary) != good.get("binary"):',
        "if not release:",
    ),
    "unknown roles are no roles": (
        ROLES,
        'if names is None:\n        return "unknown"',
        'if names is None:\n        return "stopped"',
    ),
    "every role counts": (ROLES, "for name in run_on} & {", "for name in run_on} | {"),
    "roles count although nobody asks": (ROLES, 'if roles["source"] == "none":', "if False:"),
}


def run_tables(code: Path) -> int:
    """Run the tables against the code below a folder and return pytest's exit code."""
    options = f"-q -x --assert=plain -p no:cacheprovider --rootdir={REPOSITORY} --basetemp={code / 'tmp'}".split()
    # Only what the tables need: the conftest of all tests imports Salt.
    options += [f"--confcutdir={REPOSITORY / 'tests/unit/exporter'}", "-o", f"pythonpath={code} {REPOSITORY}"]
    with contextlib.redirect_stdout(io.StringIO()):
        return int(pytest.main([*options, *(str(REPOSITORY / table) for table in TABLES)]))


def plant(folder: Path, file: str, old: str, new: str) -> Path:
    """Make a folder with the code, of which one file has a fault."""
    package = REPOSITORY / "_utils/superpod_dcgm"
    for path in (package / "__init__.py", *package.glob("base/*.py"), *package.glob("exporter/*.py")):
        link = folder / path.relative_to(package.parent)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    text = (package / file).read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{file} has {text.count(old)} times {old!r}: the fault cannot be planted any more")
    planted = folder / package.name / file
    planted.unlink()
    planted.write_text(text.replace(old, new))
    return folder


def main(folder: Path) -> None:
    """Print what went wrong, one line each."""
    whole = plant(folder / "whole", SERVICE, "_COMPARED =", "_COMPARED =")
    planted = [plant(folder / str(number), *edit) for number, edit in enumerate(FAULTS.values())]
    # Each in a process of its own, since what a run imported would be there in the next.
    with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0)), maxtasksperchild=1) as pool:
        code, *codes = pool.map(run_tables, [whole, *planted], chunksize=1)
    if code:
        print(f"without a fault the tables end with exit code {code}")
    for fault, code in zip(FAULTS, codes, strict=True):
        # Anything but failed tests, such as an error while collecting, proves nothing.
        if code != pytest.ExitCode.TESTS_FAILED:
            print(f"{fault}: exit code {code}")


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main(Path(sys.argv[1]))
