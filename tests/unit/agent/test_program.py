"""The program that timer and services of a node run: its steps, its exit codes, and the HTTP server as a process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from superpod_dcgm import agent
from superpod_dcgm.agent import __main__, counters, kernel_log, reconcile, slurm
from superpod_dcgm.agent import metrics as agent_metrics
from superpod_dcgm.agent import server as module_server
from superpod_dcgm.base import job_map_conf, paths

UTILS = Path(paths.__file__).parents[2]
TABLE = SimpleNamespace(made=5, gpus={"0": "GPU-a"}, instances={}, shared=frozenset())
# Runs a command of the program with paths of its own.
PROGRAM = """
import sys
from superpod_dcgm.base import paths
for pair in sys.argv[2:]:
    setattr(paths, *pair.split("=", 1))
from superpod_dcgm.agent import __main__
sys.exit(__main__.main([sys.argv[1]]))
"""


class Devices:
    """Stands in for the device table."""

    def __init__(self) -> None:
        self.problem, self.known, self.forced = "", "", []

    def refresh(self, settings: dict[str, str], force: bool = False) -> dict[str, str]:
        self.forced.append(force)
        if self.problem == "breaks":
            raise ValueError("breaks")
        return {"problem": self.problem}

    def kept(self) -> None:
        return None

    def current(self) -> SimpleNamespace:
        return TABLE

    def read_status(self) -> dict[str, object]:
        return {"ok": not self.known, "problem": self.known}


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Devices:
    found = Devices()
    # Loaded within functions, so that the other steps are done even if it cannot be.
    monkeypatch.setattr(agent, "devices", found, raising=False)
    return found


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: Devices) -> Path:
    """A node: settings, a job map with job 12 on GPU 0, and a Slurm that knows no job."""
    places = {"JOB_MAP_CONFIG": "conf", "SPOOL": "run/spool", "JOB_MAP_STATE": "run/job-map.json"}
    monkeypatch.setattr(kernel_log, "read", lambda place: kernel_log.News())
    for name, file in {**places, "TEXTFILE_DIRECTORY": "run/textfile", "KERNEL_LOG": "lib/kernel-log.json"}.items():
        monkeypatch.setattr(paths, name, str(tmp_path / file))
    (tmp_path / "map").mkdir()
    (tmp_path / "run").mkdir()
    stale(tmp_path)
    write_settings(tmp_path)
    unknown = slurm.Answer(1, error="slurm_load_jobs error: Invalid job id specified")
    monkeypatch.setattr(slurm, "runner", lambda: lambda arguments: unknown)
    return tmp_path


def stale(root: Path) -> None:
    (root / "map/0").write_text("12\n")
    os.utime(root / "map/0", (1, 1))


def write_settings(root: Path, **more: object) -> None:
    known = {"directory": root / "map", "textfile": root / "run/textfile", "reconcile": 0, "grace": 60, "users": "yes"}
    (root / "conf").write_text("# settings\n" + "".join(f"{k}={v}\n" for k, v in {**known, **more}.items()))


def metrics(root: Path) -> dict[str, float]:
    text = (root / "run/textfile" / paths.TEXTFILE).read_text()
    return {one.name: one.value for family in text_string_to_metric_families(text) for one in family.samples}


def test_a_tick_does_all_that_is_due(root, devices, capsys, monkeypatch) -> None:
    monkeypatch.setattr(paths, "NODE_RUNTIME", str(root / "run"))
    (root / "run/spool").write_text("prolog 5 ok\n")
    for left in (root / "run/.superpod-1", root / "map/.superpod-2"):
        left.touch()
        os.utime(left, (1, 1))
    assert __main__.main(["tick"]) == 0
    assert (root / "map/0").read_text() == ""
    assert [*root.rglob(".superpod-*")] == []
    assert devices.forced == [False]
    assert metrics(root)["dcgm_job_map_reconcile_removed_total"] == 1
    assert metrics(root)["dcgm_job_map_jobs"] == 0
    assert [path.name for path in (root / "run").glob("spool*")] == ["spool.1"]
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "removed from 0, as Slurm knows no such job here: 12\n")


@pytest.mark.parametrize(("interval", "removed"), [(0, True), (300, False), ("soon", False)])
def test_reconciliation_waits_for_its_interval_but_not_after_a_boot(root, interval, removed) -> None:
    write_settings(root, reconcile=interval)
    assert __main__.main(["tick"]) == 0
    assert (root / "map/0").read_text() == ""
    stale(root)
    assert __main__.main(["tick"]) == 0
    assert (root / "map/0").read_text() == ("" if removed else "12\n")


def test_a_fifo_and_a_lost_label_are_put_right_within_a_tick_and_said_once(root, monkeypatch, capsys) -> None:
    write_settings(root, reconcile=10**9, shared="no")
    assert __main__.main(["tick"]) == 0
    record = b"v1\0alice\0\0defq\0dgx-01\x000\0"
    (root / "map/.job-13").write_bytes(record)
    (root / "map/.job-13").chmod(0o644)
    here = slurm.Answer(0, "13|RUNNING|dgx-01\n")
    asked: list[list[str]] = []
    monkeypatch.setattr(slurm, "runner", lambda: lambda arguments: asked.append(arguments) or here)
    capsys.readouterr()
    for _ in range(2):
        (root / "map/0").unlink()
        os.mkfifo(root / "map/0")
        assert __main__.main(["tick"]) == 0
        assert (root / "map/0").read_text() == "13\n"
    said = capsys.readouterr().err
    assert said.count("put right: 0 was a FIFO") == 1
    assert said.count("given back to 0, as their records and Slurm say: 13") == 2
    found = metrics(root)
    assert (found["dcgm_job_map_reconcile_restored_total"], len(asked)) == (2, 2)
    assert 'dcgm_job_map_repaired_total{reason="kind"} 2' in (root / "run/textfile" / paths.TEXTFILE).read_text()


def test_a_label_that_cannot_be_given_back_is_asked_for_at_the_interval_only(root, monkeypatch) -> None:
    write_settings(root, reconcile=10**9)
    (root / "map/.job-13").write_bytes(b"v1\0alice\0\0defq\0dgx-01\x000\0")
    silent = slurm.Answer(1, error="Unable to contact slurm controller")
    asked: list[list[str]] = []
    monkeypatch.setattr(slurm, "runner", lambda: lambda arguments: asked.append(arguments) or silent)
    for _ in range(3):
        __main__.main(["tick"])
    assert len({words[3] for words in asked}) == len(asked)


def test_a_step_that_hangs_does_not_keep_the_others(root, devices, monkeypatch, capsys) -> None:
    wake, entered = threading.Event(), threading.Event()

    def hang(*_arguments: object, **_others: object) -> dict[str, str]:
        entered.set()
        wake.wait(20)
        return {"problem": ""}

    monkeypatch.setattr(__main__, "_STEP_SECONDS", 0.2)
    monkeypatch.setattr(devices, "refresh", hang)
    codes: list[int] = []
    running = threading.Thread(target=lambda: codes.append(__main__.main(["tick"])))
    running.start()
    assert entered.wait(10)
    deadline = time.monotonic() + 10
    while not metrics(root).get("dcgm_job_map_reconcile_removed_total") and time.monotonic() < deadline:
        time.sleep(0.05)
    done = (root / "map/0").read_text(), metrics(root)["dcgm_job_map_reconcile_removed_total"]
    wake.set()
    running.join(20)
    assert (done, codes) == (("", 1), [0])
    assert "device table: takes longer than 0.2 s" in capsys.readouterr().err


# name: (what the clock says at the next tick, as a difference in seconds, seconds since, whether it is due)
CLOCKS = {
    "set back by hours": (-7200, 400, True),
    "set back, and it was just now": (-7200, 10, False),
    "set forward by hours": (7200, 10, False),
    "set forward, and it is time": (7200, 400, True),
    "as it was": (0, 299, False),
}


@pytest.mark.parametrize(("shift", "passed", "due"), CLOCKS.values(), ids=CLOCKS.keys())
def test_a_clock_that_is_set_delays_no_reconciliation(root, monkeypatch, shift, passed, due) -> None:
    now, moment = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
    counters.note_reconciliation({}, True)
    monkeypatch.setattr(counters.time, "time", lambda: now + passed + shift)
    monkeypatch.setattr(counters.time, "clock_gettime", lambda _: moment + passed)
    assert counters.reconciliation_due(300) is due


def _failing(*_arguments: object, **_others: object) -> None:
    raise OSError("the disk is full")


def _breaking(*_arguments: object, **_others: object) -> None:
    raise ZeroDivisionError("a bug")


# name: (module, function that fails, how, what standard error says)
FAILURES = {
    "device table": ("devices", "refresh", _breaking, "device table: ZeroDivisionError"),
    "reconciliation": (reconcile, "reconcile", _failing, "reconciliation: the disk is full"),
    "reconciliation, a bug": (reconcile, "reconcile", _breaking, "reconciliation: ZeroDivisionError"),
    "spool": (counters, "count_spool", _failing, "spool: the disk is full"),
    "metrics": (agent_metrics, "write", _failing, "metrics: the disk is full"),
}


@pytest.mark.parametrize(("module", "name", "failure", "said"), FAILURES.values(), ids=FAILURES.keys())
def test_a_step_that_fails_is_said_and_does_not_stop_the_others(
    root, devices, monkeypatch, capsys, module, name, failure, said
) -> None:
    (root / "run/spool").write_text("prolog 5 ok\n")
    monkeypatch.setattr(devices if module == "devices" else module, name, failure)
    assert __main__.main(["tick"]) == 1
    assert said in capsys.readouterr().err
    done = {
        "refresh": devices.forced == [False],
        "reconcile": (root / "map/0").read_text() == "",
        "count_spool": (root / "run/spool.1").exists(),
        "write": (root / "run/textfile" / paths.TEXTFILE).exists(),
    }
    assert [step for step, is_done in done.items() if not is_done] == [name]
    if name == "reconcile" and failure is _failing:
        assert metrics(root)["dcgm_job_map_reconcile_ok"] == 0


# name: (answer of squeue, whether the lock is there, exit code, dcgm_job_map_reconcile_ok)
TROUBLE = {
    "the controller is silent": (slurm.Answer(None, error="does not answer"), True, 0, 0),
    "the map cannot be locked": (slurm.Answer(0), False, 1, 0),
}


@pytest.mark.parametrize(("answer", "lockable", "code", "ok"), TROUBLE.values(), ids=TROUBLE.keys())
def test_a_silent_controller_is_no_failure_of_the_node(root, monkeypatch, capsys, answer, lockable, code, ok) -> None:
    monkeypatch.setattr(slurm, "runner", lambda: lambda arguments: answer)
    monkeypatch.setattr(reconcile, "_LOCK_SECONDS", 0.1)
    with open(root / "map/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH if lockable else fcntl.LOCK_EX)
        if lockable:
            fcntl.flock(lock, fcntl.LOCK_UN)
        assert __main__.main(["tick"]) == code
    assert (root / "map/0").read_text() == "12\n"
    assert metrics(root)["dcgm_job_map_reconcile_ok"] == ok
    assert re.search("does not answer|cannot be changed", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("problem", "known", "said"), [("", "", ""), ("x", "", "x\n"), ("x", "x", ""), ("y", "x", "y\n")]
)
def test_a_problem_of_the_device_table_is_said_once(root, devices, capsys, problem, known, said) -> None:
    write_settings(root, reconcile=10**9)
    counters.note_reconciliation({}, True)
    devices.problem, devices.known = problem, known
    assert __main__.main(["tick"]) == 0
    assert capsys.readouterr().err == said
    assert metrics(root)["dcgm_job_map_device_table_ok"] == (0 if known else 1)


def test_what_waits_for_others_does_not_make_the_metrics_old(root, devices, monkeypatch) -> None:
    seen = []
    path = root / "run/textfile" / paths.TEXTFILE
    monkeypatch.setattr(devices, "refresh", lambda conf: seen.append(path.exists()) or {"problem": ""})
    assert __main__.main(["tick"]) == 0
    assert seen == [True]


def test_a_warning_of_the_device_table_is_said_once(root, devices, monkeypatch, capsys) -> None:
    status = {"ok": True, "bad": [{"gpu": "2", "bus": "00000000:48:00.0", "why": "[GPU is lost]"}]}
    before = {"ok": True}
    for first, said in ((before, True), (status, False)):
        known = [first]
        monkeypatch.setattr(devices, "read_status", lambda known=known: known[-1])
        monkeypatch.setattr(devices, "refresh", lambda conf, known=known: known.append(status) or {"problem": ""})
        __main__.main(["tick"])
        assert ("GPU 2 (00000000:48:00.0): [GPU is lost]\n" in capsys.readouterr().err) is said


@pytest.mark.parametrize(("problem", "code"), [("", 0), ("nvidia-smi: no answer in 10 s", 1)])
def test_the_device_table_is_made_anew_on_request(root, devices, capsys, problem, code) -> None:
    devices.problem = problem
    assert __main__.main(["devices"]) == code
    assert devices.forced == [True]
    assert problem in capsys.readouterr().err


WRONG = [[], ["tock"], ["tick", "tick"], ["serve", "x"], ["serve", "x", "port"], ["serve", "x", "1", "2"]]


@pytest.mark.parametrize("arguments", [*WRONG, ["tick", "x", "1"]])
def test_other_arguments_are_refused(arguments, capsys) -> None:
    assert __main__.main(arguments) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["devices", "tick", "serve"])
def test_without_settings_every_command_fails_in_one_line(root, capsys, command) -> None:
    (root / "conf").unlink()
    assert __main__.main([command]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_number_that_is_none_gets_its_default() -> None:
    values = [job_map_conf.number({"a": text}, "a", 7) for text in ("12", "0", "", "-3", "1.5", "x")]
    assert values == [12, 0, 7, 7, 7, 7]
    assert job_map_conf.number({}, "a", 7) == 7


class Server:
    """The program as a process, on a free port; with a file, for that one alone."""

    def __init__(self, root: Path, file: str = "") -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        write_settings(root, port=self.port)
        # On a head there are no settings of a node.
        of_file = ["-m", "superpod_dcgm.agent", "serve", file, str(self.port)]
        of_node = ["-c", PROGRAM, "serve", f"JOB_MAP_CONFIG={root}/conf"]
        self.process = subprocess.Popen(
            [sys.executable, "-B", *(of_file if file else of_node)],
            env={"PYTHONPATH": str(UTILS)},
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                return self.connect().close()
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server does not listen")

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((host, self.port), timeout=20)

    def get(self, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, str, str]:
        connection = http.client.HTTPConnection(host, self.port, timeout=20)
        connection.request(method, path, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.headers["Content-Type"], text

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
        self.process.stderr.close()


@pytest.fixture
def server(root: Path) -> Iterator[Server]:
    with contextlib.closing(Server(root)) as started:
        yield started


@pytest.mark.parametrize("text", [None, "superpod_dcgm_watcher_ok 1\n"])
def test_the_server_of_a_head_answers_with_its_file(root, text) -> None:
    file = root / "head.prom"
    if text:
        file.write_text(text)
    with contextlib.closing(Server(root, str(file))) as running:
        (root / "conf").unlink()
        status, _, told = running.get("/metrics")
    assert (status, told) == (200, text) if text else (status == 503 and "see the Salt master" in told)


def test_the_server_answers_with_the_text_file_and_says_why_while_there_is_none(server, root) -> None:
    status, _, text = server.get("/metrics")
    assert status == 503
    assert paths.JOB_MAP_UNIT in text and "No such file" in text
    assert __main__.main(["tick"]) == 0
    written = (root / "run/textfile" / paths.TEXTFILE).read_text()
    assert server.get("/metrics") == (200, "text/plain; version=0.0.4; charset=utf-8", written)
    assert server.get("/metrics?collect[]=x")[0] == 200
    assert server.get("/metrics", "HEAD")[::2] == (200, "")
    assert [server.get(path)[0] for path in ("/", "/metrics/../conf", "//metrics", "/../conf")] == [404] * 4
    assert server.get("/metrics", "POST")[0] == 405
    if socket.has_dualstack_ipv6():
        assert server.get("/metrics", host="::1")[2] == written
    # The settings may change.
    write_settings(root, port=server.port, textfile=root)
    (root / paths.TEXTFILE).write_text("other 1\n")
    assert server.get("/metrics")[2] == "other 1\n"


def test_rubbish_is_refused_and_logs_nothing(server) -> None:
    for data in (b"\r\n\r\n", b"\x16\x03\x01\0\xff\r\n\r\n", b"GET\r\n\r\n", b"A" * 20000, b""):
        with server.connect() as connection:
            answer = b""
            # It may be done with the connection before all is said.
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while block := connection.recv(4096):
                    answer += block
            except OSError as exc:
                assert exc.errno in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)
        assert answer[:12] in (b"HTTP/1.1 400", b"")
    assert server.get("/metrics")[0] == 503
    server.process.terminate()
    assert server.process.communicate(timeout=20)[1] == ""


@pytest.mark.parametrize("count", [60, 500])
@pytest.mark.parametrize("sent", [b"", b"G"])
def test_a_scrape_is_answered_while_one_user_holds_connections(server, count, sent) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    # He may take any address of the loopback.
    held = [
        socket.create_connection(("127.0.0.1", server.port), 20, (f"127.0.{n // 250}.{n % 250 + 1}", 0))
        for n in range(count)
    ]
    for connection in held:
        with contextlib.suppress(OSError):
            connection.sendall(sent)
    for _ in range(10):
        begin = time.monotonic()
        assert server.get("/metrics")[0] == 503
        assert time.monotonic() - begin < 1
    assert len(os.listdir(f"/proc/{server.process.pid}/task")) == 1
    assert len(os.listdir(f"/proc/{server.process.pid}/fd")) < 100
    for connection in held:
        connection.close()


def test_slow_readers_of_a_long_page_hold_nobody_up(server, root) -> None:
    write_settings(root, port=server.port, textfile=root)
    (root / paths.TEXTFILE).write_text("x 1\n" * (1 << 20))
    slow = []
    for _ in range(60):
        slow.append(server.connect())
        slow[-1].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert len(server.get("/metrics")[2]) == 1 << 22
    usage = Path(f"/proc/{server.process.pid}/status").read_text()
    assert int(re.findall(r"VmRSS:\s+(\d+)", usage)[0]) < 100 << 10
    for connection in slow:
        connection.close()


def test_a_request_that_does_not_come_is_waited_for_one_second(server) -> None:
    with server.connect() as connection:
        begin = time.monotonic()
        connection.sendall(b"GET /metrics")
        assert connection.recv(1) == b""
        assert 0.5 < time.monotonic() - begin < 4


def test_the_addresses_of_one_user_count_together() -> None:
    together = [
        ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"),
        ("198.18.0.1", "::ffff:198.18.0.1"),
        ("2001:db8::1", "2001:db8::ffff:1"),
    ]
    groups = [{module_server._group(address) for address in addresses} for addresses in together]
    assert [len(found) for found in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3
    assert module_server._group("fe80::1%eth0") != module_server._group("fe80::2%eth0")


def test_what_is_no_plain_file_is_not_waited_for(server, root) -> None:
    write_settings(root, port=server.port, textfile=root)
    os.mkfifo(root / paths.TEXTFILE)
    assert server.get("/metrics")[0] == 503


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_leaves_cleanly(server, number) -> None:
    waiting = server.connect()
    time.sleep(0.1)
    server.process.send_signal(number)
    assert server.process.communicate(timeout=3)[1] == ""
    assert server.process.returncode == 0
    waiting.close()


def test_a_port_that_is_taken_is_an_error(server, root) -> None:
    answer = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM, "serve", f"JOB_MAP_CONFIG={root}/conf"],
        env={"PYTHONPATH": str(UTILS)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert answer.returncode == 1
    assert "Address already in use" in answer.stderr
