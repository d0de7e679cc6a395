"""Questions about the job map: which job ids reach the samples, and what fails the page."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from subject import Subject

METRIC = "DCGM_FI_DEV_FB_USED"
GPUS = 8
LONG = 65535

# Files of the map by case; a value of None is a folder, one that begins with "->" a link.
CASES: dict[str, dict[str, bytes | None]] = {
    "no files": {},
    "one id": {"3": b"4711\n"},
    "no last newline": {"3": b"4711"},
    "several ids": {"3": b"7\n5\n6\n"},
    "two GPUs": {"3": b"7\n", "4": b"8\n"},
    "an empty file": {"3": b""},
    "a newline only": {"3": b"\n"},
    "a blank line": {"3": b"7\n\n8\n"},
    "CRLF": {"3": b"7\r\n8\r\n"},
    "one id twice": {"3": b"7\n7\n"},
    "blanks": {"3": b" 7 \n"},
    "quotes and a backslash": {"3": b'a"b\\c\n'},
    "the longest line": {"3": b"9" * LONG + b"\n"},
    "a line too long": {"3": b"9" * (LONG + 1) + b"\n"},
    "no UTF-8": {"3": b"\xff\xfe\n"},
    "200 ids": {"3": b"".join(b"%d\n" % one for one in range(200))},
    "+3": {"+3": b"7\n"},
    "003": {"003": b"7\n"},
    "-1": {"-1": b"7\n"},
    "3.": {"3.": b"7\n"},
    "3.x": {"3.x": b"7\n"},
    ".3": {".3": b"7\n"},
    "3.1.2": {"3.1.2": b"7\n"},
    "3.0 on a whole GPU": {"3.0": b"7\n"},
    ".lock": {".lock": b"7\n", "3": b"8\n"},
    "3.tmp": {"3.tmp": b"7\n"},
    "a number of no GPU": {"99": b"7\n"},
    "a folder": {"3": None},
    "a link to a file": {"3": b"->../linked"},
    "a link to a folder": {"3": b"->."},
    "a link to nowhere": {"3": b"->nowhere"},
    "+3 to nowhere": {"+3": b"->nowhere"},
    "3.tmp to nowhere": {"3.tmp": b"->nowhere"},
}


def fill(folder: Path, files: dict[str, bytes | None]) -> None:
    """Make a map's folder with its files."""
    folder.mkdir()
    (folder.parent / "linked").write_bytes(b"4711\n")
    for name, content in files.items():
        if content is None:
            (folder / name).mkdir()
        elif content.startswith(b"->"):
            os.symlink(content[2:], os.fsencode(folder / name))
        else:
            (folder / name).write_bytes(content)


def clear(folder: Path) -> None:
    """Remove a map's folder."""
    for path in folder.iterdir():
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()


def seen(subject: Subject, *gpus: str) -> Any:
    """Status, or the ids on the samples of GPUs: none is a sample without a label."""
    answer = subject.get()
    if answer.status != 200:
        return answer.status
    found = []
    for line in answer.text.split("\n"):
        if line.startswith(METRIC) and any(part in line for part in gpus):
            _, there, job = line.partition('hpc_job="')
            job = job.rpartition('"} ')[0]
            text = job.encode(errors="surrogateescape")
            found.append((text.hex() if b"\xff" in text else job) if there else "none")
    many = len(found) > 9 or any(len(one) > 99 for one in found)
    return [len(found), len(found[0])] if many else found


def job_map(subject: Subject) -> Any:
    """What each map shows on GPU 3."""
    subject.replace_counters(f"{METRIC}, gauge, x\n")
    subject.run("--hpc-job-mapping-dir", str(subject.map))
    found = {"no folder": seen(subject, 'gpu="3"')}
    for case, files in CASES.items():
        fill(subject.map, files)
        found[case] = seen(subject, 'gpu="3"')
        clear(subject.map)
    subject.map.write_text("a file\n")
    found["a file in the folder's place"] = seen(subject, 'gpu="3"')
    return found


def job_map_of_instances(subject: Subject) -> Any:
    """Whose file labels the instances of a divided GPU."""
    subject.replace_counters(f"{METRIC}, gauge, x\n")
    subject.run("--hpc-job-mapping-dir", str(subject.map), profile="mig")
    cases: dict[str, dict[str, bytes | None]] = {
        "of the GPU": {"0": b"7\n"}, "of an instance": {"0.5": b"8\n"}, "of both": {"0": b"7\n", "0.5": b"8\n"},
    }  # fmt: skip
    found = {}
    for case, files in cases.items():
        fill(subject.map, files)
        found[case] = seen(subject, 'gpu="0"')
        clear(subject.map)
    return found


def job_map_by_environment(subject: Subject) -> Any:
    """Whether the variable names the folder too."""
    fill(subject.map, {"3": b"4711\n"})
    subject.replace_counters(f"{METRIC}, gauge, x\n")
    return seen(subject.run(DCGM_HPC_JOB_MAPPING_DIR=str(subject.map)), 'gpu="3"')


QUESTIONS: list[Callable[[Subject], Any]] = [job_map, job_map_of_instances, job_map_by_environment]
