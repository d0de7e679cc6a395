"""Our Prometheus comes up with what it is given, or goes back to what it last came up with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import listeners, paths, process, systemd
from superpod_dcgm.base.process import Answer
from superpod_dcgm.monitoring import ownership, server
from superpod_dcgm.monitoring.page import Page

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
        # Moment at which it has read its files again.
        self.busy = 0.0
        self.refused = False
        self.calls: list[tuple[str, ...]] = []
        self.checks: list[tuple[str, ...]] = []
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

    def fetch(self, _page: Page, path: str) -> tuple[int, str]:
        if path == "/-/ready":
            return (401 if "locked" in self.text else 503 if "slow" in self.text else 200), ""
        reloads = self.reloads - self.step if self.now < self.busy else self.reloads
        return 200, METRICS.format(0 if self.refused else 1, reloads)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def did(self, word: str) -> int:
        return sum(call[0] == word for call in self.calls)


@pytest.fixture
def prometheus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prometheus]:
    monkeypatch.setattr(paths, "PROMETHEUS_UNIT_FILE", str(tmp_path / "prometheus_unit_file"))
    ours = tmp_path / "ours"
    places = {"CONFIG": ours, "GOOD": ours / "last-good", "RULES": ours / "rules", "WEB": ours / "web.yml"}
    for name, path in places.items():
        monkeypatch.setattr(paths, f"PROMETHEUS_{name}", str(path))
    (ours / "rules").mkdir(parents=True)
    config = ours / "prometheus.yml"
    config.write_text("good\n")
    Path(paths.PROMETHEUS_UNIT_FILE).write_text("ExecStart=/x --web.listen-address=:9090\n")
    found = Prometheus(config)
    monkeypatch.setattr(systemd, "systemctl", found.systemctl)
    monkeypatch.setattr(systemd, "show", found.show)
    monkeypatch.setattr(listeners, "on", found.on)
    monkeypatch.setattr(Page, "fetch", lambda page, path: found.fetch(page, path))
    monkeypatch.setattr(server.time, "sleep", found.sleep)
    monkeypatch.setattr(server.time, "monotonic", lambda: found.now)
    log = 'level=info msg="started"\nlevel=error msg="opening storage" err="no space"\nMain process exited\n'

    def run(argv: list[str], *_: Any) -> Answer:
        if argv[0] == "promtool":
            found.checks.append(tuple(argv[2:]))
            text = Path(argv[-1]).read_text()
            return Answer(1, error=f"  FAILED: {argv[-1]}: bad\n") if "wrong" in text else Answer(0)
        return Answer(0, log if argv[0] == "journalctl" else "")

    monkeypatch.setattr(process, "run", run)
    yield found


def wanted(prometheus: Prometheus) -> server.Server:
    return server.Server(str(prometheus.config), Page(9090), 30, "promtool")


def apply(prometheus: Prometheus) -> dict[str, str]:
    todo = server.differences(wanted(prometheus))
    server.apply(wanted(prometheus), todo)
    return todo


def test_the_first_start_is_told_and_remembered(prometheus: Prometheus) -> None:
    assert apply(prometheus) == {"service": "started", "boot": "enabled"}
    assert server.differences(wanted(prometheus)) == {}
    assert [check[0] for check in prometheus.checks] == ["config"]


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


def test_a_reload_that_takes_leave_of_a_dead_remote_write_is_waited_for(prometheus: Prometheus) -> None:
    apply(prometheus)
    prometheus.config.write_text("other\n")
    prometheus.busy = prometheus.now + 121
    assert apply(prometheus) == {"configuration": "reloaded"}
    assert (prometheus.text, prometheus.did("reload")) == ("other\n", 1)


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
    pid = prometheus.pid
    with pytest.raises(server.ServerError, match=r"refuses its configuration: .*\. It runs as before"):
        apply(prometheus)
    assert (prometheus.config.read_text(), prometheus.text, prometheus.refused) == ("good\n", "good\n", False)
    # It takes the old ones by a reload, and goes on with its data in memory.
    assert prometheus.pid == pid


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


def test_a_rule_file_is_a_part_of_what_it_runs_by(prometheus: Prometheus) -> None:
    apply(prometheus)
    rule = Path(paths.PROMETHEUS_RULES) / "dcgm.yml"
    rule.write_text(f"{ownership.MARK}\n")
    assert apply(prometheus) == {"configuration": "reloaded"}
    rule.unlink()
    assert apply(prometheus) == {"configuration": "reloaded"}
    assert (prometheus.did("restart"), prometheus.did("reload")) == (1, 2)


def test_rules_go_back_with_the_configuration_and_those_of_the_site_stay(prometheus: Prometheus) -> None:
    kept, new, site = (Path(paths.PROMETHEUS_RULES) / f"{name}.yml" for name in ("kept", "new", "site"))
    kept.write_text(f"{ownership.MARK}\nold\n")
    apply(prometheus)
    kept.write_text(f"{ownership.MARK}\nnew\n")
    new.write_text(f"{ownership.MARK}\n")
    site.write_text("groups: []\n")
    prometheus.config.write_text("refused\n")
    with pytest.raises(server.ServerError):
        apply(prometheus)
    assert (kept.read_text(), new.exists(), site.exists()) == (f"{ownership.MARK}\nold\n", False, True)


def test_what_promtool_refuses_is_never_read(prometheus: Prometheus) -> None:
    apply(prometheus)
    prometheus.config.write_text("wrong\n")
    with pytest.raises(server.ServerError, match=r"^promtool: \S+: bad\. It runs as before"):
        apply(prometheus)
    assert prometheus.config.read_text() == "good\n"
    assert (prometheus.did("reload"), prometheus.did("restart")) == (0, 1)


def test_a_web_configuration_is_checked_too_and_a_restart_only_where_tls_comes_or_goes(prometheus: Prometheus) -> None:
    web = Path(paths.PROMETHEUS_WEB)
    apply(prometheus)
    web.write_text("basic_auth_users: {a: b}\n")
    assert apply(prometheus) == {"configuration": "reloaded"}
    assert prometheus.checks[-1] == ("web-config", str(web))
    web.write_text("tls_server_config: {}\nbasic_auth_users: {a: b}\n")
    assert apply(prometheus) == {"service": "restarted"}
    web.write_text("tls_server_config: {}\nbasic_auth_users: {a: c}\n")
    assert apply(prometheus) == {"configuration": "reloaded"}


def test_hashes_of_passwords_are_kept_where_nobody_else_can_read_them(prometheus: Prometheus) -> None:
    web = Path(paths.PROMETHEUS_WEB)
    web.write_text("basic_auth_users: {a: b}\n")
    web.chmod(0o640)
    apply(prometheus)
    good = Path(paths.PROMETHEUS_GOOD)
    assert good.stat().st_mode & 0o777 == 0o700
    assert (good / "web.yml").stat().st_mode & 0o777 == 0o640
    web.unlink()
    prometheus.config.write_text("refused\n")
    with pytest.raises(server.ServerError):
        apply(prometheus)
    assert web.stat().st_mode & 0o777 == 0o640


def test_a_password_that_does_not_fit_its_hash_is_named(prometheus: Prometheus) -> None:
    prometheus.config.write_text("locked\n")
    with pytest.raises(server.ServerError, match=r"dcgm:prometheus:web:password_file.*It is stopped"):
        apply(prometheus)
