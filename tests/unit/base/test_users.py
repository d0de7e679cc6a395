"""System users: who has a name or number already is asked of the machine, and nobody's is taken."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from superpod_dcgm.base import process, users

ALICE = ("alice", 2001, 2001, "Alice", "/home/alice")
AGENT = users.User("superpod-dcgm", 372, "dcgm:users:agent", "Metrics of the job map")
EXPORTER = users.User("dcgm-exporter", 371, "dcgm:users:exporter", "NVIDIA dcgm-exporter")
FORMER = ("dcgm-exporter", 998, 998, "dcgm-exporter", "/nonexistent")


class Machine:
    """What the machine knows users by, and the programs that make and remove them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.users = [ALICE]
        self.groups = {"alice": 2001}
        self.ran: list[list[str]] = []
        self.refuses = self.forgets = False

    def user(self, of: str | int) -> Any:
        for name, uid, gid, gecos, home in self.users:
            if of in (name, uid):
                return SimpleNamespace(pw_name=name, pw_uid=uid, pw_gid=gid, pw_gecos=gecos, pw_dir=home)
        raise KeyError(of)

    def group(self, of: str | int) -> Any:
        for name, gid in self.groups.items():
            if of in (name, gid):
                return SimpleNamespace(gr_name=name, gr_gid=gid)
        raise KeyError(of)

    def run(self, argv: list[str], seconds: float) -> process.Answer:
        self.ran.append(argv)
        if self.refuses:
            return process.Answer(1, error="first line\nit is used by process 7")
        if argv[0] == "systemd-sysusers" and not self.forgets:
            kind, name, number, *_ = Path(argv[1]).read_text().splitlines()[1].split()
            assert kind == "u"
            if name not in [known[0] for known in self.users]:
                self.users.append((name, int(number), int(number), "", "/"))
                self.groups[name] = int(number)
        elif argv[0] == "userdel":
            self.users = [known for known in self.users if known[0] != argv[1]]
        self.write()
        return process.Answer(0)

    def write(self) -> None:
        """The machine's own file; alice comes from elsewhere."""
        own = [known for known in self.users if known[0] != "alice"]
        (self.root / "passwd").write_text("".join(f"{name}:x:{uid}:\n" for name, uid, *_ in own))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path)
    found.write()
    monkeypatch.setattr(users, "SYSUSERS", str(tmp_path / "sysusers.d"))
    monkeypatch.setattr(users, "_PASSWD", str(tmp_path / "passwd"))
    monkeypatch.setattr(pwd, "getpwnam", found.user)
    monkeypatch.setattr(pwd, "getpwuid", found.user)
    monkeypatch.setattr(grp, "getgrnam", found.group)
    monkeypatch.setattr(grp, "getgrgid", found.group)
    monkeypatch.setattr(process, "run", found.run)
    return found


def test_a_user_is_made_with_his_number_and_removed_again(machine: Machine) -> None:
    assert (users.problems([AGENT]), users.missing([AGENT])) == ([], [AGENT])
    users.make(AGENT)
    written = machine.root / "sysusers.d/superpod-dcgm.conf"
    assert 'u superpod-dcgm 372 "Metrics of the job map" -' in written.read_text()
    assert (users.missing([AGENT]), users.number_of(AGENT), users.there([AGENT])) == ([], 372, [AGENT])
    users.remove(AGENT)
    assert not written.parent.exists()
    assert (users.there([AGENT]), users.missing([AGENT])) == ([], [AGENT])


@pytest.mark.parametrize(
    ("known", "groups", "words"),
    [
        (("rpc", 372, 372, "RPC", "/"), {}, "dcgm:users:agent: 372 belongs to the user rpc (RPC), so superpod-dcgm"),
        (("superpod-dcgm", 998, 998, "Site", "/srv"), {}, "is there already with 998 (Site). Give 998 if he is meant"),
        (ALICE, {"wheel": 372}, "372 belongs to the group wheel, so superpod-dcgm cannot have it. Give a free one"),
        (ALICE, {"superpod-dcgm": 990}, "not the number of the group superpod-dcgm, which is there already with 990"),
        (
            ("superpod-dcgm", 2002, 2002, "", "/"),
            {},
            "is there already with 2002. Give 2002 if he is meant; it must be",
        ),
    ],
)
def test_what_somebody_else_has_is_refused_in_a_sentence(
    machine: Machine, known: tuple[Any, ...], groups: dict[str, int], words: str
) -> None:
    machine.users.append(known)
    machine.groups |= groups
    (sentence,) = users.problems([AGENT])
    assert sentence.startswith("dcgm:users:agent: 372 ") and words in sentence
    assert machine.ran == []


def test_a_user_of_the_site_with_the_right_number_is_taken_and_left(machine: Machine) -> None:
    machine.users.append(("superpod-dcgm", 372, 100, "Site", "/"))
    assert (users.problems([AGENT]), users.missing([AGENT]), users.there([AGENT])) == ([], [], [])


def test_a_user_of_a_release_before_keeps_his_number_and_is_written_down(machine: Machine) -> None:
    machine.users.append(FORMER)
    assert (users.problems([EXPORTER]), users.missing([EXPORTER])) == ([], [EXPORTER])
    users.make(EXPORTER)
    assert "u dcgm-exporter 998 " in (machine.root / "sysusers.d/dcgm-exporter.conf").read_text()
    assert (users.number_of(EXPORTER), users.missing([EXPORTER])) == (998, [])
    users.remove(EXPORTER)
    assert users.there([EXPORTER]) == []


def test_a_file_with_another_mode_is_written_again(machine: Machine) -> None:
    users.make(AGENT)
    (machine.root / "sysusers.d/superpod-dcgm.conf").chmod(0o600)
    assert users.missing([AGENT]) == [AGENT]


@pytest.mark.parametrize("how", ["refuses", "forgets"])
def test_systemd_that_makes_no_user_is_an_error(machine: Machine, how: str) -> None:
    setattr(machine, how, True)
    with pytest.raises(users.UserError, match="dcgm:users:agent: systemd-sysusers did not make the user superpod-dcgm"):
        users.make(AGENT)


def test_a_user_who_still_works_is_not_removed(machine: Machine) -> None:
    users.make(AGENT)
    machine.refuses = True
    with pytest.raises(users.UserError, match="superpod-dcgm cannot be removed: userdel: it is used by process 7"):
        users.remove(AGENT)
    assert users.there([AGENT]) == [AGENT]


def test_root_is_never_taken_for_one_of_ours(machine: Machine) -> None:
    machine.users.append(("superpod-dcgm", 0, 0, "", "/"))
    assert users.problems([AGENT])
    with pytest.raises(users.UserError, match="has root's number"):
        users.make(AGENT)
