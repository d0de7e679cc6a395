"""What is known of releases, and the choice of the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from superpod_dcgm.config import derive
from superpod_dcgm.config import releases as config_releases

ROOT = Path(__file__).parents[3]
COMPATIBILITY = yaml.safe_load((ROOT / "salt/dcgm/compatibility.yaml").read_text())
DEFAULTS = yaml.safe_load((ROOT / "salt/dcgm/defaults.yaml").read_text())


@pytest.mark.parametrize(
    ("release", "mig_map", "known"),
    [
        ("4.5.3-4.8.2", True, True),
        ("4.5.2-4.8.1", False, True),
        ("4.5.4-4.8.2", True, False),
        ("4.3.1-4.4.0", False, False),
        ("4.8.5", True, False),
        ("4.5.3-4.8.2-lab1", True, False),
    ],
)
def test_an_unlisted_release_behaves_as_the_newest_listed_one_before_it(
    release: str, mig_map: bool, known: bool
) -> None:
    facts = config_releases.facts(release, COMPATIBILITY)
    assert (facts["mig_map"], facts["known"]) == (mig_map, known)
    assert bool(facts["commit"]) == known


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
