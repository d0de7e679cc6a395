"""A lab's machines by name, from its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from superpod.errors import SuperpodError
from superpod.lab import Lab, site, sources, upstream
from superpod.lab.layout import HEAD


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab of two nodes that was started once."""
    monkeypatch.setenv("SUPERPOD_LAB_STATE", str(tmp_path))
    lab = Lab("one")
    lab.layout.root.mkdir()
    lab.layout.record.write_text(json.dumps({"nodes": 2, "image": "/image"}))
    return lab


def test_the_head_is_called_as_in_the_readme_and_known_by_a_shorter_name(lab: Lab) -> None:
    assert lab.machines == ["bcm-01", "dgx-01", "dgx-02"]
    assert {lab.machine(name).name for name in ("bcm-01", "head")} == {"bcm-01"}


def test_a_lab_of_an_earlier_version_is_not_started_beside_itself(lab: Lab) -> None:
    lab.layout.disk("head").mkdir(parents=True)
    with pytest.raises(SuperpodError, match="is of an earlier version: take it down"):
        lab.start()


def test_a_configured_lab_does_not_become_a_bare_one(lab: Lab) -> None:
    with pytest.raises(SuperpodError, match="is configured already"):
        lab.start(bare=True)


@pytest.mark.parametrize("bare", [False, True])
def test_only_a_bare_lab_knows_nothing_of_this_project(lab: Lab, tmp_path: Path, bare: bool) -> None:
    image = tmp_path / "image"
    for unit in ("munge", "slurmctld", "salt-master", "salt-minion"):
        (image / "usr/lib/systemd/system").mkdir(parents=True, exist_ok=True)
        (image / f"usr/lib/systemd/system/{unit}.service").touch()
    (image / "etc").mkdir()
    (image / "etc/passwd").write_text("munge:x:0:0::/:/bin/false\n")
    lab.layout.keys.mkdir()
    (lab.layout.keys / "munge.key").touch()
    site.make_site(lab.layout, HEAD, 2, image, bare)
    found = {path.name for path in (lab.layout.disk(HEAD) / "site/etc/salt/master.d").iterdir()}
    assert found == {"lab.conf", "lab-sources.conf" if bare else "superpod-dcgm.conf"}


@pytest.mark.parametrize(
    ("recorded", "asked", "offered"),
    [
        ({}, (), [upstream.RELEASE]),
        ({"release": "1"}, (), ["1"]),
        ({"release": "1"}, ("2", "1"), ["2", "1"]),
    ],
)
def test_a_lab_keeps_its_release_until_another_is_asked_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, recorded: dict[str, str], asked: tuple[str, ...], offered: list[str]
) -> None:
    lab.layout.record.write_text(json.dumps({"nodes": 2, "image": "/image", **recorded}))
    monkeypatch.setattr(sources, "ensure_go", lambda _place: {"go_version": "1.26.2"})
    monkeypatch.setattr(
        upstream, "ensure", lambda _place, source, releases, _say: {"upstream": source, "all": releases}
    )
    assert lab._offer("https://example.org/x.git", asked) == {
        "go_version": "1.26.2",
        "upstream": "https://example.org/x.git",
        "all": offered,
    }
