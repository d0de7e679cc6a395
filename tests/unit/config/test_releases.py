"""What is known of releases, and the choice of the engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from superpod_dcgm.config import derive
from superpod_dcgm.config import releases as config_releases

ROOT = Path(__file__).parents[3]
COMPATIBILITY = yaml.safe_load((ROOT / "salt/dcgm/compatibility.yaml").read_text())
DEFAULTS = yaml.safe_load((ROOT / "salt/dcgm/defaults.yaml").read_text())


RELEASES = list(COMPATIBILITY["releases"])
READ = [name for name, entry in COMPATIBILITY["releases"].items() if not entry.get("inferred")]


@pytest.mark.parametrize(
    ("release", "assumed", "go"),
    [
        ("4.5.3-4.8.2", "", "1.26.2"),
        ("4.4.1-4.6.0", "", "1.24.5"),
        # The same exporter: a fork, or made for another DCGM.
        ("4.5.3-4.8.2-lab1", "4.5.3-4.8.2", "1.26.2"),
        ("4.5.4-4.8.2", "4.5.3-4.8.2", "1.26.2"),
        # Another one: only its behaviour is assumed.
        ("4.4.2-4.7.2", "4.4.2-4.7.1", ""),
        ("4.8.5", "4.8.4", ""),
        ("4.10.0", "4.9.0", ""),
    ],
)
def test_an_unlisted_release_says_whose_behaviour_is_assumed_and_has_no_facts_of_an_older_one(
    release: str, assumed: str, go: str
) -> None:
    facts = config_releases.facts(release, COMPATIBILITY)
    assert (facts["known"], facts["assumed"], facts["go"]) == (not assumed, assumed, go)
    assert bool(facts["commit"]) == facts["known"]
    assert bool(facts["go_minimum"]) == bool(go)


# Where one release differs from the one before it: read in the sources of all tags.
BEHAVIOUR = {
    "mig_map": {release: config_releases.version(release) >= (4, 8, 2) for release in RELEASES},
    "profiling_rows": {release: config_releases.version(release) >= (4, 0, 0) for release in RELEASES},
    "empty_hides": {release: config_releases.version(release) < (4, 4, 0) for release in RELEASES},
    "metrics": {release: 2 if release == "4.9.0" else 1 for release in RELEASES},
    "nvml": {release: release in ("4.4.1-4.6.0", "4.4.2-4.7.0", "4.4.2-4.7.1") for release in RELEASES},
    "ipv6": {release: config_releases.version(release) >= (4, 0, 3) for release in RELEASES},
    "unix_socket": {release: release in RELEASES[RELEASES.index("4.6.0-4.8.3") :] for release in RELEASES},
    "libdcgm": {release: "libdcgm.so" if release.startswith("3.3") else "libdcgm.so.4" for release in RELEASES},
}


@pytest.mark.parametrize("name", COMPATIBILITY["behaviour"])
def test_each_behaviour_holds_from_its_release_on(name: str) -> None:
    found = {release: config_releases.facts(release, COMPATIBILITY)[name] for release in RELEASES}
    assert found == BEHAVIOUR[name]


def test_every_read_release_has_its_own_commit_and_a_go_that_is_new_enough() -> None:
    facts = [config_releases.facts(release, COMPATIBILITY) for release in READ]
    assert all(re.fullmatch("[0-9a-f]{40}", found["commit"]) for found in facts)
    assert len({found["commit"] for found in facts}) == len(READ) == 20
    assert all(numbers(found["go"]) >= numbers(found["go_minimum"]) for found in facts)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def test_what_no_source_says_is_empty_and_marked_as_inferred() -> None:
    later = RELEASES[RELEASES.index("4.5.3-4.8.2") + 1 :]
    assert [release for release in RELEASES if release not in READ] == later
    assert not any(COMPATIBILITY["releases"][release]["commit"] for release in later)


@pytest.mark.parametrize(
    ("release", "dcgm"),
    [("4.1.1-4.0.4", "4.1.1"), ("4.8.4", "4.6.1"), ("4.9.0", "4.7.0"), ("4.7.1-4.9.1", "4.7.1"), ("4.9.1", "")],
)
def test_dcgm_is_what_the_tag_begins_with(release: str, dcgm: str) -> None:
    assert config_releases.facts(release, COMPATIBILITY)["dcgm"] == dcgm


@pytest.mark.parametrize("release", ["3.3.5-3.4.1", "2.4.7-2.6.11", "main"])
def test_a_release_before_job_mapping_is_refused(release: str) -> None:
    with pytest.raises(ValueError, match=r"older than 3\.3\.6-3\.4\.2"):
        config_releases.facts(release, COMPATIBILITY)


def test_releases_are_listed_in_the_order_of_the_exporters_version() -> None:
    releases = list(COMPATIBILITY["releases"])
    assert releases == sorted(releases, key=config_releases.version)


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(derive.systemd, "DIRECTORIES", (str(tmp_path / "etc"), str(tmp_path / "lib")))
    (tmp_path / "etc").mkdir()
    (tmp_path / "lib").mkdir()
    return tmp_path


def test_an_installed_engine_is_used_even_when_it_does_not_listen(units: Path) -> None:
    (units / "lib/cuda-dcgm.service").touch()
    assert derive.engine(DEFAULTS["exporter"]) == {"mode": "remote", "unit": "cuda-dcgm.service"}


def test_without_an_engine_the_exporter_embeds_one(units: Path) -> None:
    assert derive.engine(DEFAULTS["exporter"]) == {"mode": "embedded", "unit": ""}


def test_a_masked_engine_counts_as_not_installed(units: Path) -> None:
    (units / "lib/nvidia-dcgm.service").touch()
    (units / "etc/nvidia-dcgm.service").symlink_to("/dev/null")
    assert derive.engine(DEFAULTS["exporter"])["mode"] == "embedded"


def test_the_pillar_can_force_the_engine(units: Path) -> None:
    (units / "lib/nvidia-dcgm.service").touch()
    assert derive.engine({**DEFAULTS["exporter"], "engine": "embedded"})["mode"] == "embedded"


def test_the_environment_has_port_and_job_map_and_the_engine_only_when_it_is_remote() -> None:
    settings = {**DEFAULTS["exporter"], "port": 9500, "environment": {"DCGM_EXPORTER_INTERVAL": "5000"}}
    remote = derive.environment(settings, "/run/map", "remote")
    assert remote["DCGM_EXPORTER_LISTEN"] == ":9500"
    assert remote["DCGM_HPC_JOB_MAPPING_DIR"] == "/run/map"
    assert remote["DCGM_REMOTE_HOSTENGINE_INFO"] == "localhost:5555"
    assert remote["DCGM_EXPORTER_INTERVAL"] == "5000"
    assert "DCGM_REMOTE_HOSTENGINE_INFO" not in derive.environment(settings, "/run/map", "embedded")


def test_without_the_label_the_exporter_knows_of_no_job_map() -> None:
    assert "DCGM_HPC_JOB_MAPPING_DIR" not in derive.environment(DEFAULTS["exporter"], "", "remote")


@pytest.mark.parametrize(
    ("address", "web_config", "url"),
    [
        ("", "", "http://127.0.0.1:9400/metrics"),
        ("0.0.0.0", "", "http://127.0.0.1:9400/metrics"),
        ("198.18.0.11", "", "http://198.18.0.11:9400/metrics"),
        ("", "/etc/dcgm-exporter/web.yml", "https://127.0.0.1:9400/metrics"),
    ],
)
def test_the_exporter_is_asked_where_it_listens(address: str, web_config: str, url: str) -> None:
    assert derive.metrics_url({**DEFAULTS["exporter"], "address": address, "web_config": web_config}) == url
