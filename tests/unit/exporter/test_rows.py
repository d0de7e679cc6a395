"""What is read of the exporter's page and of its counters file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from superpod_dcgm.base import ownership, paths
from superpod_dcgm.exporter import installed, last_good, rows

from tests.exporter_node import GPU_A, GPU_B, NEW, ExporterNode

LABELS = 'gpu="0",UUID="{}",pci_bus_id="0",device="nvidia0",modelName="H100",Hostname="n",hpc_job="a"b"'
PAGE = "".join(
    (
        "# HELP DCGM_FI_DEV_GPU_UTIL x\n# TYPE DCGM_FI_DEV_GPU_UTIL gauge\n",
        f"DCGM_FI_DEV_GPU_UTIL{{{LABELS.format(GPU_A)}}} 1\n",
        f"DCGM_FI_DEV_GPU_UTIL{{{LABELS.format(GPU_B)}}} 1\n",
        f"DCGM_FI_PROF_PCIE_TX_BYTES{{{LABELS.format(GPU_A)}}} 1\n",
        'DCGM_FI_DEV_NVLINK_COUNT{nvlink="1",gpu_uuid="GPU-link"} 1\n',
    )
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    return ExporterNode(tmp_path, monkeypatch)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Return a function that starts a server, which answers after some seconds, and returns its address."""
    servers = []

    def start(status: int, body: str = "", seconds: float = 0) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                time.sleep(seconds)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *args: None
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/metrics"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_gpus_and_profiling_rows_are_read_by_uuid(serve: Callable[..., str]) -> None:
    shown = rows.look(serve(200, PAGE))
    assert (shown.gpus, shown.profiled, shown.fault) == ({GPU_A, GPU_B}, {GPU_A}, "")
    names = ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_PROF_PCIE_TX_BYTES", "DCGM_FI_DEV_NVLINK_COUNT")
    assert shown.highest == dict.fromkeys(names, 1)
    assert 0 < shown.seconds < 5
    # As the schema of 4.9 may write the label.
    assert rows.parse(PAGE.replace("UUID", "uuid")) == ({GPU_A, GPU_B}, {GPU_A})
    assert rows.from_record(shown.record()) == shown


@pytest.mark.parametrize(("status", "fault"), [(500, "HTTP 500"), (401, "hidden"), (404, "HTTP 404")])
def test_what_is_no_page_is_a_fault(serve: Callable[..., str], status: int, fault: str) -> None:
    assert rows.look(serve(status, PAGE)).fault == fault


def test_no_answer_in_time_is_slow_and_no_server_is_down(serve: Callable[..., str]) -> None:
    assert rows.look(serve(200, PAGE, 0.6), 0.2).fault == "slow"
    late = rows.look(serve(200, PAGE, 0.3), 5)
    assert (late.fault, late.seconds > 0.3) == ("", True)
    assert rows.look("http://127.0.0.1:1/metrics").fault == "down"
    # It speaks no TLS, or wants a certificate: nothing can be seen there.
    assert rows.look(serve(200, PAGE).replace("http:", "https:")).fault == "hidden"


@pytest.mark.parametrize("record", [None, [], {}, {"gpus": 5, "profiled": []}, {"gpus": [], "profiled": []}])
def test_a_record_that_is_damaged_is_none(record: object) -> None:
    assert rows.from_record(record) is None
    assert rows.from_record({"gpus": [], "profiled": [], "fault": "", "seconds": "x"}) is None


# a counters file: whether it asks for any row, for a profiling row
COUNTERS = {
    "# comment\n\nDCGM_FI_DEV_GPU_UTIL, gauge, x\n": (True, False),
    'DCGM_FI_DEV_GPU_UTIL, gauge, x\n DCGM_FI_PROF_DRAM_ACTIVE,gauge,"a, b"\n': (True, True),
    "# DCGM_FI_PROF_DRAM_ACTIVE, gauge, x\n": (False, False),
    "": (False, False),
}


@pytest.mark.parametrize(("text", "found"), COUNTERS.items())
def test_what_a_counters_file_asks_for(here: ExporterNode, text: str, found: tuple[bool, bool]) -> None:
    here.counters.unlink()
    assert rows.wanted() == rows.Wanted(False, False)
    here.counters.write_text(text)
    assert rows.wanted() == rows.Wanted(*found)


def test_the_nodes_gpus_are_those_of_the_table_else_those_of_the_driver(
    here: ExporterNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_DRIVER_GPUS", str(here.root / "gpus"))
    assert rows.table_gpus() == []
    for bus in ("0000:1b:00.0", "0000:3d:00.0"):
        (here.root / "gpus" / bus).mkdir(parents=True)
    assert rows.table_gpus() == ["-", "-"]
    Path(paths.DEVICES).write_text(f"# x\nmade 1\ngpu 0 {GPU_A} 0 0000:1b:00.0\ngpu 1 - 1 -\nuuid {GPU_A} 0\n")
    assert rows.table_gpus() == [GPU_A, "-"]


def test_a_counters_file_is_changed_by_its_date_alone_and_through_its_link(here: ExporterNode) -> None:
    assert rows.counters_changed() == here.counters.lstat().st_ctime
    here.install(NEW)
    here.link(NEW)
    before, target = rows.counters_changed(), here.root / "opt" / NEW / "default-counters.csv"
    time.sleep(0.02)
    os.utime(target, (5, 5))
    assert rows.counters_changed() > before
    here.counters.unlink()
    assert rows.counters_changed() == 0


def test_counters_count_as_edited_by_content_alone(here: ExporterNode) -> None:
    assert not installed.counters_edited(), "a link that leads nowhere"
    folder = here.install(NEW)
    here.link(NEW)
    assert not installed.counters_edited(), "a release that has no sums"
    (folder / "SHA256SUMS").write_text(
        f"{installed.files.sha256(str(folder / 'default-counters.csv'))}  default-counters.csv\n"
    )
    assert not installed.counters_edited()
    here.counters.write_text("DCGM_FI_DEV_GPU_UTIL, gauge, by hand\n")
    assert installed.counters_edited()
    here.counters.unlink()
    here.counters.write_text("own\n")
    assert not installed.counters_edited(), "nobody noted it"
    ownership.note(paths.EXPORTER_COUNTERS)
    os.utime(here.counters, (5, 5))
    assert not installed.counters_edited()
    here.counters.write_text("by hand\n")
    assert installed.counters_edited()


def test_counters_that_were_put_back_are_ours_again(here: ExporterNode) -> None:
    here.counters.unlink()
    here.counters.write_text("first\n")
    ownership.note(paths.EXPORTER_COUNTERS)
    good = here.runs(NEW)
    here.counters.write_text("second\n")
    ownership.note(paths.EXPORTER_COUNTERS)
    last_good.restore(good)
    assert here.counters.read_text() == "first\n"
    assert not installed.counters_edited()
