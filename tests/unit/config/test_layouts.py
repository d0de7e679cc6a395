"""One key says where Slurm looks for prolog and epilog; a key of its own still wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.config import derive, resolve

ROOT = Path(__file__).parents[3]
DEFAULTS, SCHEMA, COMPATIBILITY = (
    yaml.safe_load((ROOT / f"salt/dcgm/{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")
)


def slurm(**keys: Any) -> dict[str, Any]:
    return resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, {"slurm": keys})["slurm"]


# layout: (scripts, directory of the shared scripts, link of the prolog)
LAYOUTS = {
    "bcm10": ("local", "/cm/shared/apps/slurm/var/cm", "/cm/local/apps/slurm/var/prologs/60-prolog-dcgm.sh"),
    "bcm11": ("local", "/cm/shared/apps/slurm/{kind}s", "/cm/local/apps/slurm/var/prologs/60-prolog-dcgm.sh"),
    "plain": ("local", "/cm/shared/apps/slurm/var/cm", "/etc/slurm/prolog.d/60-prolog-dcgm.sh"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_presets_the_places(layout: str) -> None:
    found = slurm(layout=layout)
    assert (found["scripts"], found["shared_directory"], found["prolog_link"]) == LAYOUTS[layout]


def test_every_layout_of_the_schema_is_known_and_valid() -> None:
    assert set(SCHEMA["properties"]["slurm"]["properties"]["layout"]["enum"]) == set(COMPATIBILITY["layouts"])
    for layout, keys in COMPATIBILITY["layouts"].items():
        assert slurm(**keys) == {**slurm(layout=layout), "layout": "bcm10"}


def test_a_key_of_its_own_wins() -> None:
    assert slurm(layout="plain", prolog_link="/etc/slurm/p/70-prolog.sh")["prolog_link"] == "/etc/slurm/p/70-prolog.sh"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scripts", ["local", "shared"])
def test_the_head_writes_scripts_only_where_nodes_share_them(layout: str, scripts: str) -> None:
    pillar = {"slurm": {"layout": layout, "scripts": scripts}}
    found = resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar)
    assert ("dcgm.slurm.shared" in derive.head(found)) is (scripts == "shared")
    for script in derive.scripts(found["slurm"]).values():
        assert script["target"] == script[scripts]


def test_what_has_to_be_shared_tells_which_file_systems_are() -> None:
    pillar = {"slurm": {"layout": "bcm11", "shared_places": ["/sched"]}}
    assert derive.shared_storage(resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar)) == {
        "places": ["/sched"],
        "stores": [
            "/cm/shared/apps/dcgm-exporter/artifacts",
            *(f"/cm/shared/apps/slurm/{kind}s" for kind in ("prolog", "epilog")),
        ],
    }
