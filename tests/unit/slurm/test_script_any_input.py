"""Whatever environment, settings and device table say, the scripts write where they may and what the exporter reads."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from slurm_node import MAP_NAME, Node

UUIDS = ["GPU-00000000-aaaa", "MIG-11111111-bbbb", "MIG-GPU-00000000-aaaa/3/0", "GPU-????????-????"]
WORDS = [
    *UUIDS,
    "0",
    "1",
    "7",
    "10",
    "1000",
    "007",
    "0-3",
    "+1",
    "-1",
    "1.3",
    "",
    " ",
    "*",
    "?",
    "[0-9]",
    "~",
    "NoDevFiles",
]
NASTY = [
    "../x",
    "/etc/passwd",
    "..",
    ".lock",
    ".new",
    "$(touch hacked)",
    "`touch hacked`",
    "a[$(touch hacked)]",
    "x;touch y",
]
# What the environment cannot hold, and what is no text in a file.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
WORD = st.one_of(st.sampled_from([*WORDS, *NASTY]), TEXT)
LIST = st.lists(WORD, max_size=9).map(",".join)
JOB = st.one_of(st.sampled_from(["12", "12", "4294967295", "0", "", "-1", "012", "1;rm", "1\n2", "12 13"]), WORD)
ENVIRONMENT = st.fixed_dictionaries(
    {},
    optional={
        "SLURM_JOB_ID": JOB,
        "SLURM_JOB_GPUS": LIST,
        "CUDA_VISIBLE_DEVICES": LIST,
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": WORD,
        "SLURM_JOB_USER": TEXT,
        "SLURM_JOB_ACCOUNT": TEXT,
        "SLURM_JOB_PARTITION": TEXT,
        "SLURMD_NODENAME": WORD,
    },
)
ENTRY = st.tuples(st.sampled_from(["uuid", "position", "gpu", "instance", "shared", "made", ""]), WORD, WORD, WORD)
LINE = st.one_of(ENTRY.map(" ".join), TEXT)
TABLE = st.one_of(st.none(), st.lists(LINE, max_size=12).map("\n".join))
VALUES = {
    "idle": st.sampled_from(["empty", "unlink"]),
    "mig": st.sampled_from(["yes", "no"]),
    "shared": st.sampled_from(["yes", "no", "mps"]),
    "time_limit": st.sampled_from(["2000", "99999", "1", "08", "x[$(touch hacked)]"]),
}
# It writes to whatever log file the settings name, so these are all that lead nowhere.
LOG = st.sampled_from(["", "x", "../x", "/proc/x", "/dev/null/x", "/"])
SETTINGS = st.fixed_dictionaries({}, optional={key: st.one_of(value, WORD) for key, value in VALUES.items()})
OTHER_LINES = st.lists(TEXT, max_size=4)
RUNTIME_FILES = {"runtime/devices", "runtime/spool", "runtime/mig-ignored"}
IDS = re.compile(r"(?:[1-9][0-9]{0,9}\n)*\Z")


def _lines(values: dict[str, str], others: list[str], log: str, directory: Path) -> str:
    """Return settings with a directory and a log file that no other line replaces."""
    lines = "\n".join([*(f"{key}={value}" for key, value in values.items()), *others]).splitlines()
    kept = [line for line in lines if not line.startswith(("directory=", "log="))]
    return "\n".join([*kept, f"directory={directory}", f"log={log}", ""])


def _everything(root: Path) -> set[str]:
    return {os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names}


def _outside(root: Path) -> dict[str, bytes]:
    return {path: (root / path).read_bytes() for path in _everything(root) if not path.startswith(("map/", "runtime/"))}


def _node(root: Path, table: str | None, settings_text: str) -> Node:
    """Return a node with four programs: what is said to syslog is no concern here, and takes time."""
    node = Node(root)
    node.install(f"PATH={root}/few")
    (root / "few").mkdir()
    for program in ("flock", "mv", "mkdir", "rm"):
        (root / "few" / program).symlink_to(f"/usr/bin/{program}")
    (root / "job-map.conf").write_text(settings_text)
    node.table(table)
    node.put("0", "13\n")
    return node


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(["prolog", "epilog"]), ENVIRONMENT, TABLE, SETTINGS, OTHER_LINES, LOG)
def test_no_input_makes_it_fail_print_or_write_elsewhere(kind, environment, table, values, others, log) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "node")
        node = _node(root, table, _lines(values, others, log, root / "map"))
        before = _outside(root)
        # This also says that nothing was printed.
        assert node.run(kind, **environment) == 0
        assert _outside(root) == before
        written = _everything(root)
        names = {path.removeprefix("map/") for path in written if path.startswith("map/")}
        files = {name for name in names if MAP_NAME.match(name)}
        assert names - files <= {".lock", f".job-{environment.get('SLURM_JOB_ID')}"}
        assert {path for path in written if path.startswith("runtime/")} <= RUNTIME_FILES
        assert all(IDS.match((node.directory / name).read_text()) for name in files)
        assert len(node.spool()) == 1
