"""Which places are shared with other nodes, by what mountinfo says: one table."""

from __future__ import annotations

from pathlib import Path

import pytest
from superpod_dcgm.slurm import places

OWN = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"
STORE = "/cm/shared/apps/dcgm-exporter/artifacts"


def _lines(*mounts: tuple[str, str, str, str]) -> str:
    """Text of mountinfo with these mounts (device, root, point, kind) over a root of the node's own."""
    more = [f"{90 + n} 21 {d} {r} {p} rw shared:7 master:2 - {k} x rw" for n, (d, r, p, k) in enumerate(mounts)]
    return "\n".join([OWN, *more]) + "\n"


# name: (mounts, path, why)
CASES = {
    "nothing is mounted": ([], "/etc/slurm/prolog.d", ""),
    "NFS": ([("0:50", "/", "/sched", "nfs4")], "/sched/prolog.d", "/sched is mounted from elsewhere, as nfs4"),
    "beside it": ([("0:50", "/", "/sched", "nfs")], "/schedule/prolog.d", ""),
    "Lustre": ([("0:50", "/", "/l", "lustre")], "/l/x", "as lustre"),
    "WEKA": ([("0:50", "/", "/w", "wekafs")], "/w/x", "as wekafs"),
    "FUSE": ([("0:50", "/", "/f", "fuse.juicefs")], "/f/x", "as fuse.juicefs"),
    "a file system of this machine in FUSE": ([("0:50", "/", "/f", "fuse.lxcfs")], "/f/x", ""),
    "an automounter's place": ([("0:50", "/", "/net", "autofs")], "/net/x", "as autofs"),
    "what the automounter mounted": ([("0:50", "/", "/a", "autofs"), ("8:9", "/", "/a/b", "ext4")], "/a/b/x", ""),
    "the same point, mounted over": ([("0:50", "/", "/a", "nfs"), ("8:9", "/", "/a", "ext4")], "/a/x", ""),
    "a bind mount beside the store's": (
        [("8:9", "/export", "/cm/shared", "xfs"), ("8:9", "/export/sched", "/sched", "xfs")],
        "/sched/prolog.d",
        f"it is on the same file system as {STORE}",
    ),
    "another part of that file system": (
        [("8:9", "/export", "/cm/shared", "xfs"), ("8:9", "/node1", "/local", "xfs")],
        "/local/prolog.d",
        "",
    ),
    "within the store's": ([("8:9", "/", "/cm/shared", "xfs")], "/cm/shared/prolog.d", "same file system"),
    "a blank in the name": ([("0:50", "/", "/my\\040nfs", "nfs")], "/my nfs/x", "/my nfs is mounted"),
}


@pytest.mark.parametrize(("mounts", "path", "why"), CASES.values(), ids=CASES.keys())
def test_a_place_is_shared_where_the_mounts_say_so(tmp_path, monkeypatch, mounts, path, why) -> None:
    # What is mounted here is another table.
    monkeypatch.setattr(places, "_mount_number", lambda path: None)
    monkeypatch.setattr("os.path.lexists", lambda path: True)
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(_lines(*mounts))
    found = places.shared_by(path, [], [STORE], str(mountinfo))
    assert why in found and bool(found) is bool(why)


def test_a_store_on_the_root_says_nothing(tmp_path) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(_lines())
    assert places.shared_by("/etc/slurm/prolog.d", [], ["/opt/store"], str(mountinfo)) == ""


def test_the_site_can_say_so_and_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "shared/prolog.d").mkdir(parents=True)
    (tmp_path / "prolog.d").symlink_to("shared/prolog.d")
    promised = [str(tmp_path / "shared")]
    assert places.shared_by(str(tmp_path / "prolog.d"), promised, []) == f"slurm:shared_places has {promised[0]}"
    assert places.shared_by(f"{tmp_path}/shared-not", promised, []) == ""


def test_the_kernel_is_asked_what_this_machine_has_mounted() -> None:
    mounts = places.read_mounts("/proc/self/mountinfo")
    found = places.mount_of("/proc/self", mounts)
    assert found is not None and (found.point, found.kind) == ("/proc", "proc")
    missing = places.mount_of("/nothing/of/this/is/here", mounts)
    assert missing is not None and missing.point == "/"
