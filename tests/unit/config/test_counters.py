"""Which rows a release's counters file gets, and which names a site's own may have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.config import counters, field_names, releases, resolve
from superpod_dcgm.exporter import counters as reader
from superpod_dcgm.monitoring import metric_names

ROOT = Path(__file__).parents[3] / "salt/dcgm"
DEFAULTS, SCHEMA, COMPATIBILITY, FIELDS = (
    yaml.safe_load((ROOT / f"{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility", "fields")
)
RELEASES = list(COMPATIBILITY["releases"])
READ = [release for release in RELEASES if not COMPATIBILITY["releases"][release].get("inferred")]
LATER = [release for release in RELEASES if release not in READ]
# The active rows of the csv files of all tags since 4.0.0-4.0.1; FB_RESERVED is active from 4.3.1-4.4.0 on.
DEFAULT = (
    *("DEV_SM_CLOCK", "DEV_MEM_CLOCK", "DEV_MEMORY_TEMP", "DEV_GPU_TEMP"),
    *("DEV_POWER_USAGE", "DEV_TOTAL_ENERGY_CONSUMPTION", "DEV_PCIE_REPLAY_COUNTER", "DEV_GPU_UTIL"),
    *("DEV_MEM_COPY_UTIL", "DEV_ENC_UTIL", "DEV_DEC_UTIL", "DEV_XID_ERRORS"),
    *("DEV_FB_FREE", "DEV_FB_USED", "DEV_FB_RESERVED", "DEV_NVLINK_BANDWIDTH_TOTAL"),
    *(
        "DEV_VGPU_LICENSE_STATUS",
        "DEV_UNCORRECTABLE_REMAPPED_ROWS",
        "DEV_CORRECTABLE_REMAPPED_ROWS",
        "DEV_ROW_REMAP_FAILURE",
    ),
    *("DRIVER_VERSION", "PROF_GR_ENGINE_ACTIVE", "PROF_PIPE_TENSOR_ACTIVE", "PROF_DRAM_ACTIVE"),
    *("PROF_PCIE_TX_BYTES", "PROF_PCIE_RX_BYTES"),
)


def exporter(release: str, **more: Any) -> dict[str, Any]:
    pillar = {"exporter": {"release": release, "commit": "a" * 40, **more}}
    found: dict[str, Any] = resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar)["exporter"]
    return found


def added(release: str) -> list[str]:
    rows = exporter(release, counters="extended")["facts"]["rows"]
    return [row.name for row in reader.rows("\n".join(rows))]


@pytest.mark.parametrize("release", READ)
def test_extended_has_every_row_that_the_release_knows_and_no_other(release: str) -> None:
    known = field_names.known(release, FIELDS)
    rows = "\n".join(exporter(release, counters="extended")["facts"]["rows"])
    assert reader.problems(rows, known.__contains__) == []
    wanted = [row["name"] for row in COMPATIBILITY["counters"]]
    assert added(release) == [name for name in wanted if name in known]


@pytest.mark.parametrize(
    ("release", "name", "there"),
    [
        ("3.3.9-3.6.1", "DCGM_EXP_GPU_HEALTH_STATUS", False),
        ("4.0.0-4.0.1", "DCGM_EXP_GPU_HEALTH_STATUS", True),
        ("4.0.0-4.0.1", "DCGM_FI_DEV_GPU_TEMP_LIMIT", False),
        ("4.1.1-4.0.3", "DCGM_FI_DEV_GPU_TEMP_LIMIT", True),
        ("4.5.2-4.8.1", "DCGM_FI_DEV_FABRIC_HEALTH_SUMMARY", False),
        ("4.5.3-4.8.2", "DCGM_FI_DEV_FABRIC_HEALTH_SUMMARY", True),
        ("4.5.4-4.8.2", "DCGM_FI_DEV_FABRIC_HEALTH_SUMMARY", True),
        ("4.8.4", "DCGM_FI_DEV_GPU_TEMP_LIMIT", True),
        # Renamed, and of another unit by a name that nobody knows.
        ("4.9.0", "DCGM_FI_DEV_GPU_TEMP_MARGIN_CELSIUS", True),
        ("4.9.0", "DCGM_FI_DEV_GPU_TEMP_LIMIT", False),
        ("4.9.0", "DCGM_FI_DEV_POWER_VIOLATION", False),
        ("4.9.0", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", True),
    ],
)
def test_a_row_is_there_from_its_release_on_by_the_name_of_its_schema(release: str, name: str, there: bool) -> None:
    assert (name in added(release)) == there


def test_the_default_adds_nothing_and_rows_of_the_site_come_last() -> None:
    assert exporter("4.5.3-4.8.2")["facts"]["rows"] == []
    row = "DCGM_FI_PROF_SM_ACTIVE, gauge, SMs in use (ratio)."
    assert exporter("4.5.3-4.8.2", counter_rows=[row])["facts"]["rows"] == [row]
    assert exporter("4.5.3-4.8.2", counters="extended", counter_rows=[row])["facts"]["rows"][-1] == row
    assert exporter("4.5.3-4.8.2", counters="/etc/site.csv")["facts"]["rows"] == []


def test_an_empty_value_is_the_default() -> None:
    assert exporter("4.5.3-4.8.2", counters="")["counters"] == "default"


# row of the pillar: words of the sentence
ROWS = {
    "DCGM_FI_DEV_GPU_UTIL": ("dcgm:exporter:counter_rows[0]: it has 1 field",),
    "DCGM_FI_DEV_GPU_UTIL, guage, x": ("counter_rows[0]: 'guage' is no type",),
    "# DCGM_FI_DEV_GPU_UTIL, gauge, x": ("counter_rows[0]: there is no row in it",),
    "A, gauge, x\nB, gauge, y": ("counter_rows[0]: it has more than one line",),
}


@pytest.mark.parametrize(("row", "words"), ROWS.items())
def test_a_row_of_the_pillar_that_cannot_be_read_stops_rendering(row: str, words: tuple[str, ...]) -> None:
    with pytest.raises(resolve.ConfigurationError) as caught:
        exporter("4.5.3-4.8.2", counter_rows=[row])
    (sentence,) = str(caught.value).splitlines()
    assert [word for word in words if word not in sentence] == []


@pytest.mark.parametrize(
    ("name", "first", "gone"),
    [
        ("DCGM_EXP_XID_ERRORS_COUNT", "3.3.6-3.4.2", ()),
        ("DCGM_EXP_P2P_STATUS", "4.3.1-4.4.0", ()),
        ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "4.0.0-4.0.1", ()),
        ("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "3.3.6-3.4.2", ("4.4.2-4.7.1", "4.5.1-4.8.0", "4.5.2-4.8.1")),
        ("DCGM_FI_PROF_NVLINK_L15_RX_BYTES", "3.3.6-3.4.2", ()),
        ("dcgm_gpu_temp", "3.3.6-3.4.2", ()),
    ],
)
def test_a_name_is_known_from_its_release_on(name: str, first: str, gone: tuple[str, ...]) -> None:
    since = READ[READ.index(first) :]
    assert [release for release in READ if name in field_names.known(release, FIELDS)] == [
        release for release in since if release not in gone
    ]


def test_the_names_of_each_release_are_as_many_as_its_source_has() -> None:
    found = [len(field_names.known(release, FIELDS)) for release in READ]
    assert found == [
        *(461, 461, 461, 461, 515, 588, 588, 586, 586, 586, 586, 617),
        *(653, 653, 656, 656, 663, 669, 669, 729),
    ]


def test_every_release_knows_the_rows_of_the_default_file_and_schema_2_renames_them() -> None:
    names = {f"DCGM_FI_{name}" for name in DEFAULT}
    assert [release for release in READ if names - field_names.known(release, FIELDS)] == []
    unchanged = {f"DCGM_FI_{name}" for name in ("DEV_VGPU_LICENSE_STATUS", "PROF_PCIE_TX_BYTES", "PROF_PCIE_RX_BYTES")}
    assert names - set(metric_names.renamed()) == unchanged


def test_names_are_known_of_releases_that_were_read_alone() -> None:
    for release in LATER:
        assert counters.names(release, releases.facts(release, COMPATIBILITY), FIELDS) == frozenset()
    for release, known in {"4.5.3-4.8.2": True, "4.5.3-4.8.2-lab1": True, "4.4.2-4.7.2": False}.items():
        assert bool(counters.names(release, releases.facts(release, COMPATIBILITY), FIELDS)) == known


# name: (pillar's exporter, what the master serves, words of the sentences)
ON_THE_MASTER: dict[str, tuple[dict[str, Any], str | None, list[str]]] = {
    "the default": ({}, None, []),
    "a good file": ({"counters": "salt://site.csv"}, "DCGM_FI_DEV_GPU_UTIL, gauge, x\n", []),
    "one that is not served": (
        {"counters": "salt://site.csv"},
        None,
        ["salt://site.csv: this master does not serve it"],
    ),
    "a name of no release": (
        {"counters": "salt://site.csv"},
        "\nDCGM_FI_DEV_GPU_UTL, gauge, x\n",
        ["counters: salt://site.csv: line 2: 'DCGM_FI_DEV_GPU_UTL' is not a name"],
    ),
    "one that a later release may have": (
        {"counters": "salt://site.csv", "release": "4.8.4"},
        "DCGM_FI_DEV_GPU_UTL, gauge, x\n",
        [],
    ),
    "a file on the nodes": ({"counters": "/etc/site.csv"}, None, []),
    "a row": (
        {"counter_rows": ["DCGM_FI_DEV_GPU_UTIL, gauge, x", "DCGM_FI_DEV_GPU_UTL, gauge, x"]},
        None,
        ["dcgm:exporter:counter_rows[1]: 'DCGM_FI_DEV_GPU_UTL' is not a name"],
    ),
}


@pytest.mark.parametrize(("pillar", "served", "words"), ON_THE_MASTER.values(), ids=ON_THE_MASTER.keys())
def test_the_master_judges_file_and_rows_of_the_site(
    pillar: dict[str, Any], served: str | None, words: list[str]
) -> None:
    found = counters.problems(exporter(**{"release": "4.5.3-4.8.2", **pillar}), FIELDS, lambda address: served)
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))
