"""Our Prometheus comes up with what it is given, or goes back to what it last came up with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import files, listeners, paths, process, systemd
from superpod_dcgm.base.process import Answer
from superpod_dcgm.monitoring import existing, server

METRICS = "prometheus_config_last_reload_successful {}\nprometheus_config_last_reload_success_timestamp_seconds {}\n"


class Prometheus:
    """A server that comes up by its configuration: ``good``, ``slow`` (reads its data), ``dies`` or ``deaf``."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.text = ""
        self.active = "inactive"
        self.enabled = "disabled"
        self.pid = 1
        self.reloads = 1
        # Seconds between two reloads, by the clock.
        self.step = 1
        self.refused = False
        self.calls: list[tuple[str, ...]] = []
        self.now = 0.0

    def systemctl(self, *arguments: str) -> str:
        self.calls.append(arguments)
        if arguments[0] == "enable":
            self.enabled = "enabled"
        if arguments[:2] == ("disable", "--now"):
            self.active, self.enabled = "inactive", "disabled"
        if arguments[0] == "restart":
            self.pid += 1
            self.text = self.config.read_text()
            self.active = "failed" if "dies" in self.text else "active"
        if arguments[0] == "reload":
            self.refused = "refused" in self.config.read_text()
            if not self.refused:
                self.text = self.config.read_text()
                self.reloads += self.step
        return ""

    def show(self, _unit: str) -> dict[str, str]:
        pid = str(self.pid) if self.active == "active" else "0"
        return {"ActiveState": self.active, "UnitFileState": self.enabled, "MainPID": pid}

    def on(self, port: int) -> list[listeners.Listener]:
        return [] if "deaf" in self.text or self.active != "active" else [listeners.Listener(port, self.pid)]

    def fetch(self, _port: int, path: str) -> tuple[int, str]:
        if path == "/-/ready":
            return (503 if "slow" in self.text else 200), ""
        return 200, METRICS.format(0 if self.refused else 1, self.reloads)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def did(self, word: str) -> int:
        return sum(call[0] == word for call in self.calls)


@pytest.fixture
def prometheus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prometheus]:
    for name in ("PROMETHEUS_UNIT_FILE", "PROMETHEUS_GOOD"):
        monkeypatch.setattr(paths, name, str(tmp_path / name.lower()))
    config = tmp_path / "prometheus.yml"
    config.write_text("good\n")
    Path(paths.PROMETHEUS_UNIT_FILE).write_text("ExecStart=/x --web.listen-address=:9090\n")
    found = Prometheus(config)
    monkeypatch.setattr(systemd, "systemctl", found.systemctl)
    monkeypatch.setattr(systemd, "show", found.show)
    monkeypatch.setattr(listeners, "on", found.on)
    monkeypatch.setattr(server, "fetch", found.fetch)
    monkeypatch.setattr(server.time, "sleep", found.sleep)
    monkeypatch.setattr(server.time, "monotonic", lambda: found.now)
    log = 'level=info msg="started"\nlevel=error msg="opening storage" err="no space"\nMain process exited\n'
    monkeypatch.setattr(process, "run", lambda argv, *_: Answer(0, log if argv[0] == "journalctl" else ""))
    yield found


def apply(prometheus: Prometheus) -> dict[str, str]:
    wanted = server.Server(str(prometheus.config), 9090, 30)
    todo = server.differences(wanted)
    server.apply(wanted, todo)
    return todo


def test_the_first_start_is_told_and_remembered(prometheus: Prometheus) -> None:
    assert apply(prometheus) == {"service": "started", "boot": "enabled"}
    assert server.differences(server.Server(str(prometheus.config), 9090, 30)) == {}


def test_another_job_is_a_reload_and_another_option_a_restart(prometheus: Prometheus) -> None:
    apply(prometheus)
    prometheus.config.write_text("good, with a job\n")
    assert apply(prometheus) == {"configuration": "reloaded"}
    assert (prometheus.did("reload"), prometheus.did("restart")) == (1, 1)
    Path(paths.PROMETHEUS_UNIT_FILE).write_text("ExecStart=/x --web.listen-address=:9091\n")
    assert apply(prometheus) == {"service": "restarted"}


@pytest.mark.parametrize("step", [-5 * 3600, 5 * 3600])
def test_a_reload_is_known_whatever_the_clock_does(prometheus: Prometheus, step: int) -> None:
    apply(prometheus)
    prometheus.step = step
    prometheus.config.write_text("good, with a job\n")
    assert apply(prometheus) == {"configuration": "reloaded"}
    assert prometheus.config.read_text() == "good, with a job\n"


@pytest.mark.parametrize("wrong", ["dies", "deaf"])
def test_what_does_not_come_up_goes_back_to_what_did(prometheus: Prometheus, wrong: str) -> None:
    apply(prometheus)
    Path(paths.PROMETHEUS_UNIT_FILE).write_text("another unit\n")
    prometheus.config.write_text(f"{wrong}\n")
    with pytest.raises(server.ServerError) as caught:
        apply(prometheus)
    assert 'err="no space"' in str(caught.value)
    assert str(caught.value).endswith("It runs as before, by what it last ran by")
    assert prometheus.config.read_text() == "good\n"
    assert (prometheus.active, prometheus.text) == ("active", "good\n")


def test_a_configuration_that_is_refused_goes_back(prometheus: Prometheus) -> None:
    apply(prometheus)
    prometheus.config.write_text("refused\n")
    with pytest.raises(server.ServerError, match=r"refuses its configuration: .*\. It runs as before"):
        apply(prometheus)
    assert prometheus.config.read_text() == "good\n"


def test_one_that_never_ran_is_stopped_and_not_left_in_a_loop(prometheus: Prometheus) -> None:
    prometheus.config.write_text("dies\n")
    with pytest.raises(server.ServerError, match="It is stopped; it never ran before"):
        apply(prometheus)
    assert (prometheus.active, prometheus.enabled) == ("inactive", "disabled")


def test_one_that_still_reads_its_data_is_no_failure(prometheus: Prometheus) -> None:
    prometheus.config.write_text("slow\n")
    apply(prometheus)
    assert prometheus.now >= 30


def test_one_that_was_stopped_by_hand_is_started(prometheus: Prometheus) -> None:
    apply(prometheus)
    prometheus.active = "inactive"
    assert apply(prometheus) == {"service": "started"}


def test_another_program_on_the_port_does_not_count(prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "on", lambda port: [listeners.Listener(port, 4711, "nginx")])
    with pytest.raises(server.ServerError, match="is not ready on port 9090 after 30 s"):
        apply(prometheus)


INCLUDING = {
    "by its path": ("scrape_config_files: [/etc/p/dcgm.yml]", True),
    "by a pattern": ("scrape_config_files: ['/etc/p/*.yml']", True),
    "with the job copied": ("scrape_configs: [{job_name: dcgm-exporter}]", True),
    "not at all": ("scrape_configs: [{job_name: node}]", False),
    "empty": ("", False),
}


@pytest.mark.parametrize(("text", "included"), INCLUDING.values(), ids=INCLUDING.keys())
def test_a_prometheus_of_others_is_asked_whether_it_includes_us(
    monkeypatch: pytest.MonkeyPatch, text: str, included: bool
) -> None:
    answers: dict[str, Any] = {"data": {"yaml": text}}
    monkeypatch.setattr(server, "fetch", lambda *_: (200, files.json.dumps(answers)))
    assert existing.includes(9090, "/etc/p/dcgm.yml") is included


# Another service may answer on the port.
ODD = [
    (0, ""),
    (401, ""),
    (200, "<html>"),
    (200, "[]"),
    (200, '{"data": {"yaml": 5, "activeTargets": [{"labels": []}]}}'),
]


@pytest.mark.parametrize("answer", ODD[:4])
def test_one_that_does_not_tell_is_not_guessed(monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str]) -> None:
    monkeypatch.setattr(server, "fetch", lambda *_: answer)
    assert existing.includes(9090, "/etc/p/dcgm.yml") is None
    assert existing.targets(9090) == 0


@pytest.mark.parametrize("answer", ODD)
def test_an_odd_answer_has_no_targets(monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str]) -> None:
    monkeypatch.setattr(server, "fetch", lambda *_: answer)
    assert existing.targets(9090) == 0
