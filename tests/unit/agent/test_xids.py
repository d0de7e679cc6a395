"""XIDs of the kernel log: which lines count, for which GPU, and each once, whatever becomes of the journal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from superpod_dcgm.agent import kernel_log, xid_lines, xids
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.agent.kernel_log import News, Place
from superpod_dcgm.base import boot, paths, process
from superpod_dcgm.base.exposition import render

TABLE = Table(gpus={"3": "GPU-d", "4": "-"}, places={"3": ("3", "00000000:1B:00.0"), "4": ("4", "00000008:01:00.0")})
GPU_3 = {"gpu": "3", "UUID": "GPU-d", "pci_bus_id": "00000000:1B:00.0"}
GPU_4 = {"gpu": "4", "UUID": "", "pci_bus_id": "00000008:01:00.0"}
NOBODY = {"gpu": "", "UUID": "", "pci_bus_id": "00000000:03:00.0"}
CHANGED = "NVRM: Xid (PCI:0008:01:00): 154, GPU recovery action changed from 0x0 (None) to "
SWITCH = {"nvswitch": "3", "pci_bus_id": "00000000:C1:00.0"}
SXID = "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): "
# line: what it tells
LINES = {
    "NVRM: Xid (PCI:0000:1b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off": {"xid": "79", **GPU_3},
    "NVRM: Xid (PCI:0000:1b:00 GPU-I:05): 94, pid=7194, Contained": {"xid": "94", **GPU_3},
    "NVRM: Xid (PCI:0000:1b:00 GPU-I:01 GPU-CI:02): 13, pid=9, name=a b": {"xid": "13", **GPU_3},
    "NVRM: Xid (PCI:0000:1B:00): 48, An uncorrectable double bit error": {"xid": "48", **GPU_3},
    "NVRM: Xid (0000:03:00): 14, Channel 00000001": {"xid": "14", **NOBODY},
    "NVRM: Xid (PCI:0000:03:00): 31": {"xid": "31", **NOBODY},
    f"{CHANGED}0x0 (None)": {"xid": "154", **GPU_4, "action": "none"},
    f"{CHANGED}0x1 (GPU Reset Required)": {"xid": "154", **GPU_4, "action": "reset"},
    f"{CHANGED}0x2 (Node Reboot Required)": {"xid": "154", **GPU_4, "action": "reboot"},
    f"{CHANGED}0x3 (Drain P2P)": {"xid": "154", **GPU_4, "action": "drain_p2p"},
    f"{CHANGED}0x4 (Drain and Reset)": {"xid": "154", **GPU_4, "action": "drain_reset"},
    f"{CHANGED}0x9 (Pray)": {"xid": "154", **GPU_4, "action": "unknown"},
    "NVRM: Xid (PCI:0008:01:00): 154, other words": {"xid": "154", **GPU_4, "action": "unknown"},
    "NVRM: Xid (PCI:0000:1b:00): abc, pid=1": {"xid": "unknown", "gpu": "", "UUID": "", "pci_bus_id": ""},
    "NVRM: Xid": {"xid": "unknown", "gpu": "", "UUID": "", "pci_bus_id": ""},
    f"{SXID}20034, Fatal, Link 30 LTSSM Fault Up": {"sxid": "20034", **SWITCH, "severity": "fatal"},
    f"{SXID}28006, Non-fatal, Link 46 MC TS": {"sxid": "28006", **SWITCH, "severity": "non-fatal"},
    f"{SXID}00042, Link 46": {"sxid": "42", **SWITCH, "severity": "unknown"},
    f"{SXID}20034, Severity 1 Engine instance 30 Sub-engine instance 00": None,
    f"{SXID}20034, Data {{0x00140004, 0x00100000}}": None,
    "nvidia-nvswitch3: open (major=506)": None,
    f"{SXID}garbled, Fatal": None,
    "NVRM: GPU at PCI:0000:1b:00: GPU-d": None,
    # Of a process, or of a program that writes to /dev/kmsg.
    "traps: NVRM: Xid (PCI:0000:1b:00): 79, x": None,
    "": None,
}


@pytest.mark.parametrize(("line", "labels"), LINES.items(), ids=[line[:60] or "nothing" for line in LINES])
def test_a_line_counts_for_its_number_and_gpu(line, labels) -> None:
    found = xid_lines.parse(line, TABLE)
    assert (found.labels if found else None) == labels
    assert found is None or (found.kind in labels and xid_lines.may_tell(line))


BOOT, NEXT = "a" * 32, "b" * 32
XID = "NVRM: Xid (PCI:0000:1b:00): 79, GPU has fallen off the bus."


class Journal:
    """Stands in for journalctl: entries by number, which a rotation may take, or number anew."""

    def __init__(self) -> None:
        self.entries: list[dict[str, object]] = []
        self.asked: list[list[str]] = []
        self.sequence, self.number = "5e9", 0
        self.answer: process.Answer | None = None

    def write(self, message: object, moment: int, boot: str = BOOT, **more: object) -> None:
        self.number += 1
        self.entries.append(
            {
                "__CURSOR": f"s={self.sequence};i={self.number:x};b={boot};m={moment:x}",
                "__REALTIME_TIMESTAMP": str(1764230000000000 + moment),
                "__MONOTONIC_TIMESTAMP": str(moment + 7),
                "_SOURCE_MONOTONIC_TIMESTAMP": str(moment),
                "_BOOT_ID": boot,
                "MESSAGE": message,
                **more,
            }
        )

    def ask(self, words: list[str], seconds: float, most: int) -> process.Answer:
        self.asked.append(words)
        if self.answer:
            return self.answer
        assert 0 < seconds <= 5 and words[:5] == kernel_log._JOURNALCTL
        wanted = {key: value for key, _, value in (word.partition("=") for word in words[5:])}
        found = [one for one in self.entries if one["_BOOT_ID"] == wanted["_BOOT_ID"]]
        if cursor := wanted.get("--cursor"):
            known = [index for index, one in enumerate(found) if one["__CURSOR"] == cursor]
            if not known and not cursor.startswith(f"s={self.sequence};"):
                return process.Answer(1, error="Failed to seek to cursor: Invalid argument")
            later = [int(one["__CURSOR"].split(";")[1][2:], 16) for one in found]
            place = int(cursor.split(";")[1][2:], 16)
            found = [one for one, number in zip(found, later, strict=True) if number >= place]
        found = found[-1:] if "--lines" in wanted else found
        text = "".join(f"{json.dumps(one)}\n" for one in found)
        if len(text) > most:
            return process.Answer(None, text[:most], cut=True)
        return process.Answer(0, text)


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture(autouse=True)
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "lib/kernel-log.json"
    monkeypatch.setattr(paths, "KERNEL_LOG", str(path))
    monkeypatch.setattr(boot, "_CONTAINER", str(tmp_path / "container"))
    return path


def tick(journal: Journal, boot: str = BOOT, uptime: float = 1e6) -> str:
    return xids.count(TABLE, lambda place: kernel_log.read(place, journal.ask, uptime, boot))


def metrics() -> dict[tuple[str, ...], float]:
    samples = [one for family in text_string_to_metric_families(render(xids.families())) for one in family.samples]
    return {(one.name, *sorted(f"{key}={value}" for key, value in one.labels.items())): one.value for one in samples}


def total(xid: str = "79") -> int:
    return int(sum(one["count"] for one in xids.load()["counts"] if one["labels"].get("xid") == xid))


def test_what_was_there_before_the_first_run_is_no_news(journal) -> None:
    journal.write(XID, 100)
    assert (tick(journal), total()) == ("", 0)
    assert metrics()["superpod_dcgm_kernel_log_ok",] == 1
    journal.write(XID, 200)
    assert (tick(journal), tick(journal), total()) == ("", "", 1)


def test_a_machine_that_has_just_booted_counts_its_whole_boot(journal) -> None:
    journal.write(XID, 100, "c" * 32)
    journal.write(XID, 100)
    assert (tick(journal, uptime=40), total()) == ("", 1)
    assert (tick(journal, uptime=70), total()) == ("", 1)


def test_a_series_begins_with_0_so_that_its_first_event_is_an_increase(journal, monkeypatch) -> None:
    journal.write("boot", 1)
    tick(journal)
    journal.write(XID, 200)
    journal.write(f"{SXID}20034, Fatal, Link 30", 201)
    name = ("superpod_dcgm_kernel_xid_total", "UUID=GPU-d", "gpu=3", "pci_bus_id=00000000:1B:00.0", "xid=79")
    place = ("nvswitch=3", "pci_bus_id=00000000:C1:00.0", "severity=fatal", "sxid=20034")
    switch = ("superpod_dcgm_kernel_sxid_total", *place)
    now = xids._now()
    monkeypatch.setattr(xids, "_now", lambda: now)
    tick(journal)
    assert (metrics()[name], metrics()[switch]) == (0, 0)
    monkeypatch.setattr(xids, "_now", lambda: now + 30)
    assert (metrics()[name], metrics()[switch]) == (1, 1)
    assert metrics()[("superpod_dcgm_kernel_xid_last_timestamp_seconds", *name[1:])] == 1764230000.0002
    journal.write(XID, 300)
    tick(journal)
    assert metrics()[name] == 2
    # Another boot has another clock.
    monkeypatch.setattr(xids, "_now", lambda: 5.0)
    assert metrics()[name] == 2


def test_after_a_reboot_the_end_of_the_boot_before_counts_and_nothing_twice(journal) -> None:
    journal.write("boot", 1)
    tick(journal)
    for moment in (200, 300):
        journal.write(XID, moment)
        if moment == 200:
            tick(journal)
    # Its clock is behind: the kernel's own time begins anew in any case.
    journal.write(XID, 50, NEXT, __REALTIME_TIMESTAMP="5")
    assert (tick(journal, NEXT, 20), total()) == ("", 3)
    assert (tick(journal, NEXT, 50), total()) == ("", 3)


def test_a_boot_before_that_the_journal_lost_is_left_behind(journal) -> None:
    journal.write("boot", 1)
    tick(journal)
    journal.entries.clear()
    journal.write(XID, 50, NEXT)
    assert (tick(journal, NEXT, 20), total()) == ("", 1)


@pytest.mark.parametrize("boot", [BOOT, NEXT])
def test_a_boot_before_that_cannot_be_read_does_not_hide_this_one(journal, boot) -> None:
    journal.write("boot", 1)
    tick(journal)
    journal.answer = process.Answer(1, error="Bad message")
    assert tick(journal, boot) == "journalctl Bad message"
    journal.answer = None
    journal.write(XID, 50, boot)
    assert (tick(journal, boot), total()) == ("", 1)


# name: what becomes of the journal between two ticks
def rotated(journal: Journal) -> None:
    del journal.entries[:-1]


def vacuumed(journal: Journal) -> None:
    journal.entries.clear()


def numbered_anew(journal: Journal) -> None:
    """From /run to /var/log: the same lines under other cursors."""
    journal.sequence, journal.number, old = "f00", 0, journal.entries[:]
    journal.entries.clear()
    for one in old:
        journal.write(one["MESSAGE"], int(str(one["_SOURCE_MONOTONIC_TIMESTAMP"])))


def read_again_by_journald(journal: Journal) -> None:
    for one in journal.entries[:]:
        journal.write(one["MESSAGE"], int(str(one["_SOURCE_MONOTONIC_TIMESTAMP"])), __MONOTONIC_TIMESTAMP="900000")


def clock_set_back(journal: Journal) -> None:
    journal.write("clock", 250, __REALTIME_TIMESTAMP="1000000")


@pytest.mark.parametrize("change", [rotated, vacuumed, numbered_anew, read_again_by_journald, clock_set_back])
def test_whatever_becomes_of_the_journal_each_line_counts_once(journal, change) -> None:
    journal.write("boot", 1)
    tick(journal)
    journal.write(XID, 200)
    journal.write(XID, 210)
    tick(journal)
    assert total() == 2
    change(journal)
    journal.write(XID, 300, __REALTIME_TIMESTAMP="2000000")
    assert (tick(journal), total()) == ("", 3)
    assert (tick(journal), total()) == ("", 3)


# name: the record that a tick finds
DAMAGED = {
    "lost": None,
    "empty": "",
    "half": '{"place": {"boot": "aaaa',
    "a list": "[1]",
    "another form": json.dumps({"place": [1], "counts": {"x": 1}, "ok": "yes"}),
    "no numbers": json.dumps({"place": {"boot": BOOT, "cursor": "", "floor": "x", "known": []}, "counts": [1, {}]}),
    "marks that are none": json.dumps({"place": {"boot": BOOT, "cursor": "", "floor": 1, "known": ["x.y"]}}),
    "a cursor that is none": json.dumps({"place": {"boot": BOOT, "cursor": "--x y", "floor": 1, "known": []}}),
    "counts that are none": json.dumps(
        {"counts": [{"kind": "xid", "labels": {"xid": 79}, "count": True, "last": -1, "began": None}]}
    ),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_record_that_is_lost_or_damaged_begins_anew(journal, record, text) -> None:
    journal.write(XID, 100)
    record.parent.mkdir()
    if text is not None:
        record.write_text(text)
    assert (tick(journal), total()) == ("", 0)
    journal.write(XID, 200)
    assert (tick(journal), total()) == ("", 1)


def test_a_cursor_that_is_refused_costs_nothing_that_was_counted(journal, record) -> None:
    journal.write("boot", 1)
    tick(journal)
    journal.write(XID, 200)
    tick(journal)
    stored = json.loads(record.read_text())
    stored["place"]["cursor"] = "s=0;i=1"
    record.write_text(json.dumps(stored))
    journal.write(XID, 300)
    assert (tick(journal), total()) == ("", 2)


def test_a_flood_is_counted_whole_over_several_ticks(journal, monkeypatch) -> None:
    monkeypatch.setattr(kernel_log, "_BYTES", 100_000)
    monkeypatch.setattr(kernel_log, "_KNOWN", 50)
    journal.write("boot", 1)
    tick(journal)
    for index in range(2000):
        journal.write(XID.replace("79", str(79 + index % 2)), 1000 + index)
    behind, ticks = 1.0, 0
    while behind and ticks < 50:
        assert tick(journal) == ""
        behind, ticks = metrics()["superpod_dcgm_kernel_log_behind",], ticks + 1
    assert (total("79"), total("80"), 5 < ticks < 20) == (1000, 1000, True)
    # The times of those that are forgotten are remembered, in one number.
    assert len(xids.load()["place"]["known"]) <= 50
    numbered_anew(journal)
    while tick(journal) or xids.load()["behind"]:
        assert ticks < 50
    assert (total("79"), total("80")) == (1000, 1000)


def test_numbers_without_end_make_no_series_without_end(journal) -> None:
    journal.write("boot", 1)
    tick(journal)
    for index in range(600):
        journal.write(XID.replace("79", str(index)), 1000 + index)
    tick(journal)
    counts = xids.load()["counts"]
    assert (len(counts), total("unknown")) == (501, 100)


# name: (what journalctl answers, why the log cannot be read)
TROUBLE = {
    "not installed": (process.Answer(None, missing=True, error="cannot be run: No such file"), "is not installed"),
    "hangs": (process.Answer(None, late=True, error="does not answer"), "does not answer"),
    "no permission": (process.Answer(1, error="No journal files were opened due to insufficient permissions."), "perm"),
    "no JSON": (process.Answer(0, "x\n{}\n[1]\n" + '{"__CURSOR": "no cursor"}\n'), "no message of the kernel"),
    "no kernel message": (process.Answer(0, ""), "no message of the kernel of this boot"),
}


@pytest.mark.parametrize(("answer", "why"), TROUBLE.values(), ids=TROUBLE.keys())
def test_what_keeps_the_log_from_being_read_is_told_and_ends(journal, answer, why) -> None:
    journal.write("boot", 1)
    journal.answer = answer
    assert why in tick(journal)
    assert (metrics()["superpod_dcgm_kernel_log_ok",], total()) == (0, 0)
    journal.answer = None
    tick(journal)
    journal.write(XID, 200)
    assert (tick(journal), total()) == ("", 1)
    assert metrics()["superpod_dcgm_kernel_log_ok",] == 1


def test_a_container_tells_nothing_until_it_gets_kernel_messages(journal, tmp_path) -> None:
    (tmp_path / "container").write_text("systemd-nspawn")
    journal.answer = process.Answer(0, "")
    assert tick(journal) == ""
    assert ("superpod_dcgm_kernel_log_ok",) not in metrics()
    journal.answer = process.Answer(1, error="No journal files were opened due to insufficient permissions.")
    assert "permission" in tick(journal)
    assert metrics()["superpod_dcgm_kernel_log_ok",] == 0
    journal.answer = None
    journal.write("boot", 1)
    assert tick(journal) == ""
    assert metrics()["superpod_dcgm_kernel_log_ok",] == 1


def test_what_was_read_before_the_time_was_over_counts_and_the_rest_next_time(journal) -> None:
    journal.write("boot", 1)
    tick(journal)
    journal.write(XID, 200)
    journal.write(XID, 300)
    text = journal.ask([*kernel_log._JOURNALCTL, f"_BOOT_ID={BOOT}"], 1, 1 << 20).output
    journal.answer = process.Answer(None, text[:-9], error="does not answer", late=True)
    assert (tick(journal), total()) == ("", 1)
    assert metrics()["superpod_dcgm_kernel_log_behind",] == 1
    journal.answer = None
    assert (tick(journal), total()) == ("", 2)
    assert metrics()["superpod_dcgm_kernel_log_behind",] == 0


def test_a_message_that_is_no_text_counts_too(journal) -> None:
    journal.write("boot", 1)
    tick(journal)
    journal.write([*XID.encode(), 0xFF], 200)
    journal.write([[1], "x"], 201)
    journal.write(None, 202)
    assert (tick(journal), total()) == ("", 1)


def test_a_node_that_does_not_know_its_boot_counts_nothing() -> None:
    news = kernel_log.read(Place(), lambda *_: pytest.fail("asked"), 0, "no boot")
    assert (news.lines, news.problem) == ([], "the kernel does not tell which boot this is")


def test_a_record_that_cannot_be_written_counts_the_same_again(journal, record, monkeypatch) -> None:
    journal.write("boot", 1)
    tick(journal)
    journal.write(XID, 200)
    with monkeypatch.context() as context, pytest.raises(OSError, match="full"):
        context.setattr("superpod_dcgm.base.files.write_atomic", lambda *_: (_ for _ in ()).throw(OSError("full")))
        tick(journal)
    assert total() == 0
    assert (tick(journal), total()) == ("", 1)


def test_before_the_first_tick_nothing_is_shown() -> None:
    assert metrics() == {}


def test_a_line_of_an_unknown_kind_of_event_is_never_made_up() -> None:
    assert xids.count(TABLE, lambda place: News([kernel_log.Line("usb 1-1: new device", 1.0)])) == ""
    assert xids.load()["counts"] == []


def test_journalctl_itself_is_asked_as_its_manual_says(tmp_path) -> None:
    """A program in journalctl's place, which is started, bounded and ended like it."""
    program = tmp_path / "journalctl"
    entry = {"__CURSOR": "s=1;i=1", "_SOURCE_MONOTONIC_TIMESTAMP": "5", "MESSAGE": XID}
    program.write_text(f"import time\nprint('''{json.dumps(entry)}''', flush=True)\ntime.sleep(60)\n")

    def ask(words: list[str], seconds: float, most: int) -> process.Answer:
        return process.run_bounded([sys.executable, str(program), *words[1:]], 1.0, most)

    place = Place(BOOT)
    news = kernel_log.read(place, ask, 0, BOOT)
    assert ([line.text for line in news.lines], news.behind, place.cursor) == ([XID], True, "s=1;i=1")
    again = kernel_log.read(place, ask, 0, BOOT)
    assert (again.lines, again.problem) == ([], "journalctl does not answer")
