"""The counters file is a link, a composed file or the site's, and nothing that would end the exporter is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.base import paths
from superpod_dcgm.config import resolve
from superpod_dcgm.exporter import counters as reader

from tests.exporter_node import NEW, ExporterNode

ROOT = Path(__file__).parents[2] / "salt/dcgm"
TREE = [yaml.safe_load((ROOT / f"{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")]
OWN = (
    "# Temperatures\n"
    "DCGM_FI_DEV_GPU_TEMP, gauge, GPU temperature (in C).\n"
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL, counter, own\n"
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    here = ExporterNode(tmp_path, monkeypatch)
    here.install(NEW).joinpath("default-counters.csv").write_text(OWN)
    here.link(NEW)
    return here


def arguments(release: str = NEW, **exporter: Any) -> dict[str, Any]:
    """What dcgm/exporter/counters.sls gives the state by the pillar."""
    found = resolve.configuration(*TREE, {"exporter": {"release": release, "commit": "a" * 40, **exporter}})["exporter"]
    facts = found["facts"]
    wanted = {"counters": found["counters"], "rows": facts["rows"], "renamed": facts["renamed"]}
    return {"name": paths.EXPORTER_COUNTERS, "release": release, **wanted}


def test_the_default_is_a_link_to_the_file_of_whatever_release_is_current(here: ExporterNode, states: Any) -> None:
    here.counters.unlink()
    assert states.dcgm_counters.installed(test=True, **arguments()).result is None
    assert states.dcgm_counters.installed(**arguments()).result is True
    assert here.counters.readlink() == here.current / "default-counters.csv"
    assert states.dcgm_counters.installed(**arguments()).changes == {}


def test_extended_adds_what_alerts_need_once_to_the_releases_own_rows(here: ExporterNode, states: Any) -> None:
    wanted = arguments(counters="extended", counter_rows=["DCGM_FI_PROF_SM_ACTIVE, gauge, SMs in use (ratio)."])
    assert states.dcgm_counters.installed(test=True, **wanted).result is None
    assert here.counters.is_symlink()
    done = states.dcgm_counters.installed(**wanted)
    assert (done.result, done.warnings) == (True, [])
    text = here.counters.read_text()
    assert text.startswith(OWN)
    names = [row.name for row in reader.rows(text)]
    assert len(names) == len(set(names)) == 1 + len(TREE[2]["counters"]) + 1
    assert {"DCGM_EXP_XID_ERRORS_COUNT", "DCGM_EXP_GPU_HEALTH_STATUS", "DCGM_FI_PROF_SM_ACTIVE"} < {*names}
    assert here.counters.stat().st_mode & 0o777 == 0o644
    assert states.dcgm_counters.installed(**wanted).changes == {}
    assert states.dcgm_counters.installed(**arguments()).changes
    assert here.counters.is_symlink()


def test_before_the_release_is_there_a_test_says_what_would_be_added(here: ExporterNode, states: Any) -> None:
    wanted = arguments(release="4.5.2-4.8.1", counters="extended")
    foretold = states.dcgm_counters.installed(test=True, **wanted)
    assert (foretold.result, "rows would be added to what 4.5.2-4.8.1 brings" in foretold.comment) == (None, True)
    assert states.dcgm_counters.installed(**wanted).result is False


def test_a_file_of_the_site_is_installed_byte_by_byte(here: ExporterNode, states: Any, tmp_path: Path) -> None:
    own = tmp_path / "site.csv"
    own.write_bytes(b"# site\r\nDCGM_FI_DEV_GPU_UTIL,gauge,use\r\n\r\n")
    assert states.dcgm_counters.installed(test=True, **arguments(counters=str(own))).result is None
    assert states.dcgm_counters.installed(**arguments(counters=str(own))).result is True
    assert here.counters.read_bytes() == own.read_bytes()
    assert states.dcgm_counters.installed(**arguments(counters=str(own))).changes == {}


# name: (release, file, words of the comment)
REFUSED = {
    "a name of no release": (NEW, "DCGM_FI_DEV_GPU_TMP, gauge, x\n", ("line 1", "did you mean DCGM_FI_DEV_GPU_TEMP?")),
    "a name of 4.9": (NEW, "DCGM_FI_DEV_GPU_TEMP_CELSIUS, gauge, x\n", ("GPU_TEMP_CELSIUS' is not a name",)),
    "a name of later releases": ("4.2.3-4.2.0", "DCGM_EXP_P2P_STATUS, gauge, x\n", ("P2P_STATUS' is not a name",)),
    "one that came and went": ("4.5.2-4.8.1", "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS, gauge, x\n", ("is not a name",)),
    "a tab": (NEW, "DCGM_FI_DEV_GPU_TEMP,\tgauge, x\n", ("with a tab",)),
    "one for another schema": (NEW, "".join(f"X{number}, gauge, x\n" for number in range(20)), ("; and 12 more",)),
    "no text": (NEW, b"\xff\xfe", ("cannot be read",)),
}


@pytest.mark.parametrize(("release", "content", "words"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("test", [False, True])
def test_a_file_that_would_end_the_exporter_changes_nothing(
    here: ExporterNode, states: Any, release: str, content: str | bytes, words: tuple[str, ...], test: bool
) -> None:
    own = here.root / "site.csv"
    own.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = states.dcgm_counters.installed(test=test, **arguments(release, counters=str(own)))
    assert (done.result, done.changes, here.counters.is_symlink()) == (False, {}, True)
    assert [word for word in (str(own), *words) if word not in done.comment] == []


def test_a_file_that_is_not_there_is_named(here: ExporterNode, states: Any) -> None:
    done = states.dcgm_counters.installed(**arguments(counters="salt://site/counters.csv"))
    assert (done.result, "salt://site/counters.csv cannot be read" in done.comment) == (False, True)


def test_of_a_release_whose_source_was_never_read_only_the_form_is_checked(
    here: ExporterNode, states: Any, tmp_path: Path
) -> None:
    own = tmp_path / "site.csv"
    own.write_text("DCGM_FI_DEV_NEW_ONE, gauge, x\nDCGM_FI_DEV_GPU_TEMP, gauge, y\n")
    done = states.dcgm_counters.installed(**arguments("4.9.0", counters=str(own)))
    assert done.result is True
    (warning,) = done.warnings
    assert "line 2: DCGM_FI_DEV_GPU_TEMP has the name DCGM_FI_DEV_GPU_TEMP_CELSIUS" in warning
    own.write_text("DCGM_FI_DEV_NEW_ONE, gauge\n")
    assert states.dcgm_counters.installed(**arguments("4.9.0", counters=str(own))).result is False
