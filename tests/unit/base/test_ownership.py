"""Whose a file is: by link, first line, note, dpkg and rpm; a name proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from superpod_dcgm.base import ownership, paths, process

DPKG = """#!/bin/sh
case $1 in
--search) shift; for path; do sed -n "s|^$path => ||p" {known}; done ;;
--show) sed -n "s|^$4 is ||p" {known} ;;
esac
"""
RPM = '#!/bin/sh\nsed -n "s|^rpm $5 => ||p" {known} | grep . || exit 1\n'


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node with a dpkg and an rpm that know what the file ``known`` says."""
    for name in ("var", "bin", "opt", "etc"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(paths, "OWNED_FILE", str(tmp_path / "var/owned.json"))
    monkeypatch.setattr(paths, "RUNNING_FILE", str(tmp_path / "var/running.json"))
    monkeypatch.setattr(paths, "EXPORTER_COUNTERS", str(tmp_path / "etc/counters"))
    monkeypatch.setattr(process, "PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    known = tmp_path / "known"
    known.write_text("")
    for name, script in (("dpkg-query", DPKG), ("rpm", RPM)):
        program = tmp_path / "bin" / name
        program.write_text(script.format(known=known))
        program.chmod(0o755)
    return tmp_path


def owner(node: Path, path: Path) -> ownership.Owner:
    return ownership.owners([str(path)], str(node / "opt"))[str(path)]


def know(node: Path, *lines: str) -> None:
    (node / "known").write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("../opt/current/x", "ours"),
        ("/etc/passwd", "somebody"),
        ("../opt/../etc/x", "somebody"),
        ("../opt2/x", "somebody"),
    ],
)
def test_a_link_is_ours_by_where_it_leads(node: Path, target: str, kind: str) -> None:
    (node / "etc/x").symlink_to(target)
    assert owner(node, node / "etc/x").kind == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("# Environment. Written by the Salt state dcgm.exporter.config from the pillar.\nA=1\n", "ours"),
        ("# Written by the Salt state site.exporter\n", "somebody"),
        ("#" * 600 + "Written by the Salt state dcgm.exporter.config", "somebody"),
        ("", "somebody"),
    ],
)
def test_a_file_is_ours_if_it_says_so_at_its_beginning(node: Path, text: str, kind: str) -> None:
    (node / "etc/x").write_text(text)
    assert owner(node, node / "etc/x").kind == kind


def test_a_file_that_was_noted_is_ours_and_one_edited_since_is_not_removed(node: Path) -> None:
    path = node / "etc/x"
    path.write_text("one")
    ownership.note(str(path))
    assert ownership.is_ours(str(path), str(node / "opt"))
    path.write_text("two")
    assert (owner(node, path).kind, ownership.is_ours(str(path), str(node / "opt"))) == ("ours", False)
    ownership.forget(str(path))
    assert owner(node, path).kind == "somebody"


def test_the_counters_of_an_earlier_release_are_known_by_what_last_answered(node: Path) -> None:
    path = node / "etc/counters"
    path.write_text("one")
    digest = ownership.files.sha256(str(path))
    (node / "var/running.json").write_text(f'{{"files": {{"{path}": "{digest}"}}}}')
    assert owner(node, path).kind == "ours"
    # It was a link then: what is a file now is somebody's.
    (node / "var/running.json").write_text(f'{{"files": {{"{path}": "/opt/x"}}}}')
    assert owner(node, path).kind == "somebody"


def test_the_package_of_a_path_is_named(node: Path) -> None:
    path = node / "etc/x"
    know(node, f"{path} => vendor, other: {path}", "vendor is installed")
    for present in (False, True):
        if present:
            path.write_text("x")
        found = owner(node, path)
        assert (found.kind, found.name, found.advice) == ("package", "the package vendor", "remove the package vendor")


def test_what_a_removed_package_left_is_not_replaced_but_a_path_that_it_left_is_free(node: Path) -> None:
    path = node / "etc/x"
    know(node, f"{path} => vendor: {path}", "vendor is config-files")
    assert owner(node, path).kind == "nobody"
    path.write_text("edited")
    assert "dpkg --purge vendor" in owner(node, path).advice


@pytest.mark.parametrize(
    ("diversion", "kind"), [("local diversion", "nobody"), ("diversion by other", "package"), ("", "package")]
)
def test_a_diversion_gives_the_path_to_another(node: Path, diversion: str, kind: str) -> None:
    path = node / "etc/x"
    lines = [f"{path} => {diversion} from: {path}", f"{path} => {diversion} to: {path}.distrib"] if diversion else []
    know(node, *lines, f"{path} => vendor: {path}")
    found = owner(node, path)
    assert found.kind == kind
    assert found.name == {"diversion by other": "the package other", "": "the package vendor"}.get(diversion, "")


def test_rpm_is_asked_as_well(node: Path) -> None:
    path = node / "etc/x"
    know(node, f"rpm {path} => vendor")
    assert owner(node, path).name == "the package vendor"
    (node / "bin/dpkg-query").unlink()
    assert owner(node, path).kind == "package"


def test_both_spellings_of_a_merged_system_are_asked_for(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership.os.path, "islink", lambda path: path == "/bin")
    know(node, "/bin/dcgm-exporter => vendor: /bin/dcgm-exporter")
    found = ownership.package_owners(["/usr/bin/dcgm-exporter", "/usr/sbin/x", "/etc/x"])
    assert {path: owner.name for path, owner in found.items()} == {"/usr/bin/dcgm-exporter": "the package vendor"}


def test_nobody_is_asked_about_what_is_ours(node: Path) -> None:
    (node / "etc/x").symlink_to(node / "opt/current/x")
    know(node, f"{node}/etc/x => vendor: {node}/etc/x")
    assert owner(node, node / "etc/x").kind == "ours"


def test_what_is_neither_file_nor_link_is_somebodys(node: Path) -> None:
    (node / "etc/x").mkdir()
    assert "a directory" in owner(node, node / "etc/x").name
