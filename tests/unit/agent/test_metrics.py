"""The node's own metrics: what is counted of prolog and epilog, and the text file that Prometheus reads."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from superpod_dcgm.agent import counters
from superpod_dcgm.agent import metrics as agent_metrics
from superpod_dcgm.base import paths

NO_TABLE = SimpleNamespace(made=0, gpus={}, instances={})
TABLE = SimpleNamespace(made=1764020000, gpus={"0": "GPU-a", "1": "GPU-b"}, instances={"1.3": ("GPU-b", "2g.20gb")})


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run"
    places = {"SPOOL": "spool", "JOB_MAP_STATE": "job-map.json", "KERNEL_LOG": "kernel-log.json"}
    for name, file in {**places, "TEXTFILE_DIRECTORY": "textfile"}.items():
        monkeypatch.setattr(paths, name, str(path / file))
    monkeypatch.setattr(counters, "_SETTLED_SECONDS", 0)
    return path


@pytest.fixture
def settings(tmp_path: Path, runtime: Path) -> dict[str, str]:
    (tmp_path / "map").mkdir()
    return {"directory": str(tmp_path / "map"), "textfile": str(runtime / "textfile"), "users": "yes"}


def spool(runtime: Path, text: str | bytes) -> None:
    runtime.mkdir(exist_ok=True)
    with open(runtime / "spool", "ab") as stream:
        stream.write(text if isinstance(text, bytes) else text.encode())


def metrics(settings: dict[str, str], table=TABLE, ok: bool = True) -> dict[tuple[str, ...], float]:
    """Write the text file and return it as Prometheus would read it: (name, label=value, …) -> value."""
    agent_metrics.write(settings, table, ok)
    text = (Path(settings["textfile"]) / paths.TEXTFILE).read_bytes().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(one.name, *(f"{key}={value}" for key, value in one.labels.items())): one.value for one in samples}
    assert len(found) == len(samples)
    return found


def failures(settings: dict[str, str]) -> dict[str, float]:
    found = metrics(settings)
    name = "dcgm_job_map_failures_total"
    return {
        " ".join(label.split("=")[1] for label in key[1:]): value
        for key, value in found.items()
        if key[0] == name and value
    }


# name: (lines, runs of prolog and epilog, their time, failures)
LINES = {
    "all well": ("prolog 4000 ok\nepilog 2500 ok\nprolog 6000 ok\n", (2, 1), (0.01, 0.0025), {}),
    "one reason": ("prolog 4000 lock\n", (1, 0), (0.004, 0), {"prolog lock": 1}),
    "several reasons": (
        "epilog 10 gpu,write,table\n",
        (0, 1),
        (0, 1e-05),
        {f"epilog {r}": 1 for r in ("gpu", "write", "table")},
    ),
    "a reason twice in a line": ("prolog 1 gpu,gpu\n", (1, 0), (1e-06, 0), {"prolog gpu": 1}),
    "a reason of a later script": ("prolog 1 weather\n", (1, 0), (1e-06, 0), {"prolog garbage": 1}),
    "a script that is neither": ("unknown 5 name\n", (0, 0), (0, 0), {"unknown garbage": 1}),
    "cut off by the bound": ("prolog 4000 ok\nprolog 40", (1, 0), (0.004, 0), {"unknown garbage": 1}),
    "other lines": (
        "x\n\nprolog -1 ok\nprolog 1 OK\nprolog 1 ok more\nprolog  1 ok\n",
        (0, 0),
        (0, 0),
        {"unknown garbage": 6},
    ),
    "no text": (
        b"\xff\xfe\0prolog 1 ok\nprolog \xd9\xa1 ok\nprolog 1 ok\n",
        (1, 0),
        (1e-06, 0),
        {"unknown garbage": 2},
    ),
    "a number without an end": (f"prolog {'9' * 40} ok\n", (0, 0), (0, 0), {"unknown garbage": 1}),
    "nothing": ("", (0, 0), (0, 0), {}),
}


@pytest.mark.parametrize(("text", "runs", "seconds", "failed"), LINES.values(), ids=LINES.keys())
def test_lines_of_the_spool_become_counters(runtime, settings, text, runs, seconds, failed) -> None:
    spool(runtime, text)
    for _ in range(3):
        counters.count_spool()
    found = metrics(settings)
    for index, script in enumerate(("prolog", "epilog")):
        label = f"script={script}"
        assert found["dcgm_job_map_runs_total", label] == found["dcgm_job_map_duration_seconds_count", label]
        assert found["dcgm_job_map_runs_total", label] == runs[index]
        assert found["dcgm_job_map_duration_seconds_sum", label] == pytest.approx(seconds[index])
        # There from the beginning, or the first failure would be no increase.
        assert ("dcgm_job_map_failures_total", label, "reason=lock") in found
    assert failures(settings) == failed


def test_a_spool_is_counted_only_when_nobody_can_be_writing_to_it_any_more(runtime, settings, monkeypatch) -> None:
    monkeypatch.setattr(counters, "_SETTLED_SECONDS", 0)
    spool(runtime, "prolog 1 ok\n")
    with open(runtime / "spool", "a") as late:
        counters.count_spool()
        late.write("prolog 1 lock\n")
    assert failures(settings) == {}
    spool(runtime, "prolog 1 gpu\n")
    monkeypatch.setattr(counters, "_SETTLED_SECONDS", 60)
    counters.count_spool()
    assert failures(settings) == {}
    assert (runtime / "spool").exists()
    monkeypatch.setattr(counters, "_SETTLED_SECONDS", 0)
    counters.count_spool()
    assert failures(settings) == {"prolog lock": 1}
    counters.count_spool()
    assert failures(settings) == {"prolog lock": 1, "prolog gpu": 1}
    assert not (runtime / "spool.1").exists()


def test_a_crash_between_storing_and_deleting_counts_nothing_twice(runtime, settings, monkeypatch) -> None:
    spool(runtime, "prolog 1 lock\n")
    counters.count_spool()
    with monkeypatch.context() as context, pytest.raises(PermissionError):
        context.setattr(os, "unlink", lambda path: (_ for _ in ()).throw(PermissionError(path)))
        counters.count_spool()
    assert failures(settings) == {"prolog lock": 1}
    counters.count_spool()
    assert failures(settings) == {"prolog lock": 1}
    assert not (runtime / "spool.1").exists()


def test_of_a_spool_without_bounds_only_a_part_is_read(runtime, settings, monkeypatch) -> None:
    monkeypatch.setattr(counters, "_SPOOL_BYTES", 120)
    spool(runtime, "prolog 1 ok\n" * 100)
    counters.count_spool()
    counters.count_spool()
    assert metrics(settings)["dcgm_job_map_runs_total", "script=prolog"] == 10
    assert not (runtime / "spool.1").exists()


SOUND = {"runs": {"prolog": 7, "epilog": 0}, "removed": 3, "tried": 5, "answered": 5, "ok": True}
# name: (the state file, runs of prolog afterwards)
STATES = {
    "sound": (json.dumps(SOUND), 8),
    "missing": (None, 1),
    "empty": ("", 1),
    "no JSON": ('{"runs": {"prolog": 7', 1),
    "a list": ("[1, 2]", 1),
    "other kinds": ('{"runs": [7], "microseconds": null, "failures": "x", "removed": "3", "counted": 5}', 1),
    "no numbers": ('{"runs": {"prolog": "7", "epilog": true}, "removed": NaN, "tried": -5, "answered": Infinity}', 1),
}


@pytest.mark.parametrize(("text", "runs"), STATES.values(), ids=STATES.keys())
def test_counters_start_anew_where_they_are_lost(runtime, settings, text, runs) -> None:
    runtime.mkdir()
    if text is not None:
        (runtime / "job-map.json").write_text(text)
    spool(runtime, "prolog 1 ok\n")
    counters.count_spool()
    counters.count_spool()
    found = metrics(settings)
    assert found["dcgm_job_map_runs_total", "script=prolog"] == runs
    assert found["dcgm_job_map_runs_total", "script=epilog"] == 0


def test_reconciliations_are_remembered_and_tell_when_the_next_is_due(runtime, settings) -> None:
    assert counters.reconciliation_due(1e6) is True
    found = metrics(settings)
    assert found["dcgm_job_map_reconcile_removed_total",] == 0
    assert not {("dcgm_job_map_reconcile_ok",), ("dcgm_job_map_reconcile_timestamp_seconds",)} & found.keys()
    counters.note_reconciliation({"0": ["12", "13"], "1": ["12"]}, True)
    first = metrics(settings)
    assert first["dcgm_job_map_reconcile_removed_total",] == 2
    assert first["dcgm_job_map_reconcile_ok",] == 1
    assert first["dcgm_job_map_reconcile_timestamp_seconds",] == pytest.approx(time.time(), abs=60)
    counters.note_reconciliation({}, False)
    second = metrics(settings)
    assert second["dcgm_job_map_reconcile_ok",] == 0
    for name in ("removed_total", "timestamp_seconds"):
        assert second[f"dcgm_job_map_reconcile_{name}",] == first[f"dcgm_job_map_reconcile_{name}",]
    assert counters.reconciliation_due(1e6) is False
    assert counters.reconciliation_due(0) is True


def _job(settings: dict[str, str], job: str, *fields: bytes) -> None:
    (Path(settings["directory"]) / f".job-{job}").write_bytes(b"\0".join((b"v1", *fields, b"dgx-01", b"0", b"")))


def info(found) -> list[dict[str, str]]:
    names = [key[1:] for key in found if key[0] == "slurm_gpu_job_info"]
    return [dict(label.split("=", 1) for label in labels) for labels in names]


def test_each_job_on_each_gpu_is_shown_with_its_owner(runtime, settings) -> None:
    for name, text in {"0": "12\n", "1.3": "13\n12\n", "2": "14\n14\n", "1": ""}.items():
        (Path(settings["directory"]) / name).write_text(text)
    _job(settings, "12", b"alice", b"research", b"defq")
    (Path(settings["directory"]) / ".job-13").write_bytes(b"")
    found = metrics(settings)
    alice = {"user": "alice", "account": "research", "partition": "defq"}
    nobody = {"user": "", "account": "", "partition": ""}
    mig = {"gpu": "1", "GPU_I_ID": "3", "UUID": "GPU-b", "GPU_I_PROFILE": "2g.20gb"}
    expected = [
        {"gpu": "0", "UUID": "GPU-a", "hpc_job": "12", **alice},
        {**mig, "hpc_job": "12", **alice},
        {**mig, "hpc_job": "13", **nobody},
        {"gpu": "2", "UUID": "", "hpc_job": "14", **nobody},
    ]
    assert sorted(info(found), key=lambda one: (one["gpu"], one["hpc_job"])) == expected
    counts = {key[1:]: value for key, value in found.items() if key[0] == "dcgm_job_map_jobs"}
    assert counts == {("gpu=0",): 1, ("gpu=1",): 0, ("gpu=1", "GPU_I_ID=3"): 2, ("gpu=2",): 1}


def test_gpus_without_a_file_hold_no_job_and_without_a_table_there_is_no_uuid(runtime, settings) -> None:
    found = metrics(settings)
    assert {found["dcgm_job_map_jobs", f"gpu={gpu}"] for gpu in "01"} == {0}
    assert found["dcgm_job_map_device_table_timestamp_seconds",] == 1764020000
    assert found["dcgm_job_map_device_table_ok",] == 1
    (Path(settings["directory"]) / "1.3").write_text("12\n")
    found = metrics(settings, NO_TABLE, False)
    assert found["dcgm_job_map_device_table_ok",] == 0
    assert ("dcgm_job_map_device_table_timestamp_seconds",) not in found
    (shown,) = info(found)
    assert (shown["UUID"], shown["GPU_I_PROFILE"], shown["GPU_I_ID"]) == ("", "", "3")


# name: (status of the table, guessed, pending, bad GPUs)
STATUS = {
    "known": ({"guessed": False, "pending": "", "bad": []}, 0, 0, {}),
    "guessed": ({"guessed": True}, 1, 0, {}),
    "pending": ({"guessed": False, "pending": "Slurm's configuration changed"}, 0, 1, {}),
    "one bad": ({"guessed": False, "bad": [{"gpu": "1", "bus": "x", "why": "lost"}]}, 0, 0, {("gpu=1",): 1}),
    "one whose number nobody knows": (
        {"guessed": False, "bad": [{"gpu": "", "bus": "00000000:48:00.0", "why": "lost"}]},
        0,
        0,
        {("gpu=", "pci_bus_id=00000000:48:00.0"): 1},
    ),
    "one that is not in the table": ({"guessed": False, "bad": [{"gpu": "7", "bus": "x"}]}, 0, 0, {("gpu=7",): 1}),
}


@pytest.mark.parametrize(("status", "guessed", "pending", "bad"), STATUS.values(), ids=STATUS.keys())
def test_a_guess_is_told_from_knowledge_and_bad_gpus_have_a_name(settings, status, guessed, pending, bad) -> None:
    agent_metrics.write(settings, TABLE, True, status)
    text = (Path(settings["textfile"]) / paths.TEXTFILE).read_text()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    values = {(one.name, *(f"{key}={value}" for key, value in one.labels.items())): one.value for one in samples}
    assert values["dcgm_job_map_device_table_guessed",] == guessed
    assert values["dcgm_job_map_device_table_pending",] == pending
    found = {key[1:]: value for key, value in values.items() if key[0] == "dcgm_job_map_gpu_bad"}
    assert found == {("gpu=0",): 0, ("gpu=1",): 0} | bad


def test_without_users_nobody_can_be_read_off_the_metrics(runtime, settings) -> None:
    (Path(settings["directory"]) / "0").write_text("12\n")
    _job(settings, "12", b"alice", b"research", b"defq")
    metrics({**settings, "users": "no"})
    text = (runtime / "textfile" / paths.TEXTFILE).read_text()
    assert not [word for word in ("alice", "research", "defq", "user", "slurm_gpu_job_info") if word in text]
    assert "alice" in str(info(metrics(settings)))


# name: (bytes of a field, what Prometheus reads)
VALUES = {
    "quote": (b'a"b', 'a"b'),
    "backslash": (b"a\\b", "a\\b"),
    "newline": (b"a\nb", "a\nb"),
    "backslash and n": (b"a\\nb", "a\\nb"),
    "all of them at the end": (b'\\"\n\\', '\\"\n\\'),
    "braces, comma, equals": (b'{x="y",z="w"} 2', '{x="y",z="w"} 2'),
    "carriage return": (b"a\rb", "a\rb"),
    "UTF-8": ("Zoë".encode(), "Zoë"),
    "no UTF-8": (b"a\xffb\xc3", "a\ufffdb\ufffd"),
    "empty": (b"", ""),
}


@pytest.mark.parametrize(("data", "expected"), VALUES.values(), ids=VALUES.keys())
def test_users_and_accounts_are_escaped(runtime, settings, data, expected) -> None:
    (Path(settings["directory"]) / "0").write_text("12\n")
    _job(settings, "12", data, data, data)
    (shown,) = info(metrics(settings))
    assert (shown["user"], shown["account"], shown["partition"]) == (expected,) * 3


def test_the_file_is_sorted_described_and_replaced_in_one_step(runtime, settings) -> None:
    old = os.umask(0o077)
    try:
        metrics(settings)
    finally:
        os.umask(old)
    path = runtime / "textfile" / paths.TEXTFILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    lines = path.read_text().splitlines()
    families = [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert families == sorted(families) == [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert "# TYPE dcgm_job_map_duration_seconds summary" in lines
    os.utime(path, (0, 0))
    metrics(settings)
    assert path.stat().st_mtime > 1e9
    (Path(settings["directory"]) / "0").write_text("12\n")
    inode = path.stat().st_ino
    metrics(settings)
    assert path.stat().st_ino != inode
    assert os.listdir(path.parent) == [path.name]


def test_only_our_own_directory_is_made(runtime, settings, tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        agent_metrics.write({**settings, "textfile": str(tmp_path / "node_exporter")}, TABLE, True)
    agent_metrics.write({**settings, "textfile": ""}, TABLE, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map"]


def test_a_job_map_that_is_missing_leaves_the_other_metrics(runtime, settings) -> None:
    found = metrics({**settings, "directory": f"{runtime}/missing"})
    assert found["dcgm_job_map_jobs", "gpu=0"] == 0
    assert found["dcgm_job_map_runs_total", "script=prolog"] == 0


@pytest.mark.parametrize("name", ["spool", "spool.1"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("job-map.json")])
def test_a_spool_that_is_no_plain_file_is_removed_and_not_waited_for(runtime, settings, name, make) -> None:
    runtime.mkdir()
    make(runtime / name)
    counters.count_spool()
    assert not os.path.lexists(runtime / name)
    spool(runtime, "prolog 5 ok\n")
    counters.count_spool()
    counters.count_spool()
    assert counters.load()["runs"]["prolog"] == 1


def test_while_gpus_are_free_no_job_is_named(runtime, settings, monkeypatch, tmp_path) -> None:
    _job(settings, "12")
    monkeypatch.setattr(paths, "GPUS_FREED", str(tmp_path / "freed"))
    assert metrics(settings)["superpod_dcgm_gpus_freed",] == 0
    (tmp_path / "freed").write_text("")
    found = metrics(settings)
    assert found["superpod_dcgm_gpus_freed",] == 1
    assert not [key for key in found if key[0] in ("slurm_gpu_job_info", "dcgm_job_map_jobs")]
