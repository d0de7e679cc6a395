"""Which slurmd is asked, with which options and environment, and what is never started."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from superpod_dcgm.agent import nvidia, slurmd, slurmd_process
from superpod_dcgm.agent.slurmd_options import Options, parse
from superpod_dcgm.agent.slurmd_process import Slurmd

from tests.fake_slurmd import FakeSlurmd

LIMIT = nvidia.Limit("slurmd", 10)
# It notes what it was called, and of its environment what matters.
ECHO = (
    'echo "slurmd: Gres Name=gpu Count=1 File=/dev/nvidia0 Links=(null)" >&2\n'
    'echo "$*|$SLURM_CONF|$LD_LIBRARY_PATH|$NOTIFY_SOCKET$INVOCATION_ID$SLURMD_RECONF_PARENT_FD$LISTEN_FDS" >>'
)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurmd:
    found = FakeSlurmd(tmp_path / "slurm", monkeypatch)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "grep").symlink_to(shutil.which("grep") or "/bin/grep")
    monkeypatch.setattr(nvidia, "SEARCH_PATH", str(programs))
    found.script(f"{ECHO}{tmp_path}/asked")
    return found


def asked(fake: FakeSlurmd) -> list[str]:
    path = fake.root.parent / "asked"
    return path.read_text().splitlines() if path.exists() else []


def systemctl(fake: FakeSlurmd, shown: str) -> None:
    path = fake.root.parent / "bin/systemctl"
    fake.script(f"{shutil.which('cat')} <<'END'\n{shown}\nEND", path)


def ask() -> slurmd.Listing:
    found = slurmd_process.running(LIMIT) or slurmd_process.to_be_started(LIMIT)
    return slurmd.ask(found, LIMIT)


# name: (command line, what is meant)
SPELLINGS = {
    "nothing": ("-D --systemd -vv -M", Options()),
    "-f": ("-f /a/slurm.conf -D", Options(file="/a/slurm.conf")),
    "-fX": ("-D -f/a/slurm.conf", Options(file="/a/slurm.conf")),
    "behind flags": ("-Dvvf /a/slurm.conf", Options(file="/a/slurm.conf")),
    "behind flags, in one word": ("-DMf/a/slurm.conf -N x", Options(file="/a/slurm.conf", node="x")),
    "-N": ("-N dgx-01", Options(node="dgx-01")),
    "-NX": ("-Ndgx-01", Options(node="dgx-01")),
    "dynamic": ("-Z --conf Gres=gpu:8", Options(dynamic=True, conf="Gres=gpu:8")),
    "dynamic, --conf=": ("-DZ --conf=Gres=gpu:8", Options(dynamic=True, conf="Gres=gpu:8")),
    "--conf-server": ("--conf-server head:6817", Options(server="head:6817")),
    "--conf-server=": ("--conf-server=head:6817,b", Options(server="head:6817,b")),
    "the beginning of --conf-server": ("--conf-s head", Options(server="head")),
    "a word of another option": ("-L -f -d /x/slurmstepd -n -N -f /b", Options(file="/b")),
    "behind the end of options": ("-D -- -f /a", Options()),
    "the last one counts": ("-f /a -f /b", Options(file="/b")),
    "an option without its word": ("-f", Options()),
    "a long option of later": ("--extra=-Nx --instance-id=i -N y", Options(node="y")),
    "a feature": ("-Ffast -N y", Options(node="y")),
}


@pytest.mark.parametrize(("line", "expected"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_options_that_say_which_configuration_is_meant_are_known_in_every_spelling(line, expected) -> None:
    assert parse(line.split()) == expected


# name: (words of the process, its environment, arguments and SLURM_CONF it is asked with)
ASKED = {
    "nothing said": (["-D"], {}, "-G|"),
    "a file": (["-D", "-f", "/x/slurm.conf"], {}, "-G -f /x/slurm.conf|"),
    "a node": (["-N", "n1", "-f/x/slurm.conf"], {}, "-G -f /x/slurm.conf -N n1|"),
    "the environment": (["-D"], {"SLURM_CONF": "/cm/a.conf"}, "-G -f /cm/a.conf|/cm/a.conf"),
    "a dynamic node": (["-Z", "--conf", "Gres=gpu:8"], {}, "-G -Z --conf Gres=gpu:8|"),
}


@pytest.mark.parametrize(("words", "environment", "expected"), ASKED.values(), ids=ASKED.keys())
def test_the_slurmd_that_runs_is_asked_about_what_it_reads(fake, words, environment, expected) -> None:
    private = {"NOTIFY_SOCKET": "/n", "INVOCATION_ID": "i", "SLURMD_RECONF_PARENT_FD": "13", "LISTEN_FDS": "1"}
    fake.start(*words, **environment, **private, LD_LIBRARY_PATH="/opt/lib")
    assert ask().devices == [["/dev/nvidia0"]]
    assert asked(fake) == [f"{expected}|/opt/lib|"]


def test_a_default_slurm_conf_is_named_so_that_nothing_is_fetched(fake) -> None:
    fake.configure("ClusterName=x\n")
    fake.start("-D")
    ask()
    assert asked(fake)[0].startswith(f"-G -f {fake.conf}|")


@pytest.mark.parametrize("words", [["--conf-server", "head:6817"], []], ids=["told", "by DNS"])
def test_a_slurmd_without_files_is_asked_about_its_own_copy_and_never_fetches(fake, words) -> None:
    if words:
        # A file that is there as well is not read then.
        fake.configure("ClusterName=x\n")
    fake.cache.parent.mkdir(parents=True)
    fake.cache.write_text("ClusterName=x\n")
    fake.start("-D", *words)
    ask()
    assert asked(fake) == [f"-G -f {fake.cache}|||"]


def test_the_copy_is_where_a_reconfigured_slurmd_says(fake, tmp_path) -> None:
    copy = tmp_path / "elsewhere/conf-cache/slurm.conf"
    copy.parent.mkdir(parents=True)
    copy.write_text("")
    fake.start("--conf-server", "head", SLURM_CONF=str(copy))
    ask()
    assert asked(fake) == [f"-G -f {copy}|{copy}||"]


def test_a_slurmd_whose_copy_is_not_found_is_not_asked(fake) -> None:
    fake.start("--conf-server", "head")
    with pytest.raises(nvidia.Trouble, match="its copy is in none of the known places"):
        ask()
    assert asked(fake) == []


# name: (file of the program, whether it is taken for slurmd)
NAMES = {
    "slurmd": True,
    "slurmd.real": True,
    "slurmd-24.11": True,
    "slurmd-24.11.5-1.el9": True,
    "slurmd-wlm": True,
    "slurmdbd": False,
    "slurmstepd": False,
    "slurmd-exporter": False,
    "slurmd_exporter": False,
    "start-slurmd.sh": False,
    "notslurmd": False,
}


@pytest.mark.parametrize(("name", "taken"), NAMES.items(), ids=NAMES.keys())
def test_a_process_is_known_by_the_file_that_it_runs(fake, name, taken) -> None:
    fake.start("-D", program=fake.script("exit 0", fake.root / "sbin" / name))
    assert (slurmd_process.running(LIMIT) is not None) is taken


def test_a_program_that_was_replaced_is_still_the_one_that_runs(fake) -> None:
    pid = fake.start("-D")
    exe = fake.processes / str(pid) / "exe"
    exe.unlink()
    exe.symlink_to(f"{fake.program} (deleted)")
    found = slurmd_process.running(LIMIT)
    assert found is not None
    assert (found.place, found.program) == (str(fake.program), str(exe))


def test_a_process_of_a_user_is_not_asked(fake) -> None:
    (fake.processes / str(fake.start("-D")) / "of-a-user").touch()
    assert slurmd_process.running(LIMIT) is None
    with pytest.raises(slurmd_process.NoSlurmd):
        ask()


def test_a_process_in_a_container_is_not_asked(fake, tmp_path) -> None:
    root = fake.processes / str(fake.start("-D")) / "root"
    root.unlink()
    root.symlink_to(tmp_path)
    with pytest.raises(nvidia.Trouble, match="as in a container"):
        ask()
    assert asked(fake) == []


def test_one_in_a_container_beside_this_machine_s_own_is_passed_over(fake, tmp_path) -> None:
    root = fake.processes / str(fake.start("-N", "a")) / "root"
    root.unlink()
    root.symlink_to(tmp_path)
    fake.start("-N", "b")
    found = slurmd_process.running(LIMIT)
    assert found is not None
    assert (found.options.node, found.doubt) == ("b", "")


def test_of_several_the_daemon_is_asked_and_no_child_of_it(fake) -> None:
    daemon = fake.start("-D")
    fake.start("-D", parent=daemon)
    found = slurmd_process.running(LIMIT)
    assert found is not None
    assert (found.process.partition(":")[0], found.doubt) == (str(daemon), "")


@pytest.mark.parametrize("wrapped", [False, True], ids=["the unit's own", "a child of the unit's wrapper"])
def test_of_several_daemons_that_of_the_unit_is_asked(fake, wrapped) -> None:
    fake.start("-N", "a")
    main = fake.start("-N", "b", parent=9 if wrapped else 1)
    systemctl(fake, f"MainPID={9 if wrapped else main}")
    found = slurmd_process.running(LIMIT)
    assert found is not None
    assert (found.options.node, found.doubt) == ("b", "")


def test_of_several_daemons_of_no_unit_the_answer_of_one_is_a_guess(fake) -> None:
    fake.start("-N", "a")
    fake.start("-N", "b")
    found = slurmd_process.running(LIMIT)
    assert found is not None
    assert found.doubt.startswith("2 slurmd run on this node")


def _unit(program: object, options: str = "-D $SLURMD_OPTIONS", more: str = "") -> str:
    return f"ExecStart={{ path={program} ; argv[]={program} {options} ; ignore_errors=no ; }}\n{more}"


def test_before_it_runs_the_program_of_its_unit_is_asked_with_the_unit_s_options(fake, tmp_path) -> None:
    fake.configure("ClusterName=x\n")
    (tmp_path / "env").write_text('# comment\nSLURMD_OPTIONS="-N dgx-01 -v"\n')
    systemctl(fake, _unit(fake.program, more=f"EnvironmentFiles={tmp_path}/env (ignore_errors=yes)"))
    ask()
    assert asked(fake) == [f"-G -f {fake.conf} -N dgx-01|||"]


def test_before_it_runs_a_slurm_conf_of_the_unit_s_environment_counts(fake) -> None:
    systemctl(fake, _unit(fake.program, more='Environment=SLURM_CONF=/cm/slurm.conf "A=b c"'))
    ask()
    assert asked(fake) == ["-G -f /cm/slurm.conf|/cm/slurm.conf||"]


def _wrapper(fake: FakeSlurmd) -> str:
    return _unit(fake.script(f"touch {fake.root}/ran", fake.root / "sbin/start-slurmd.sh"))


def _script_of_that_name(fake: FakeSlurmd) -> str:
    return _unit(fake.script(f"touch {fake.root}/ran", fake.root / "own/slurmd", proof="# another program"))


def _writable(fake: FakeSlurmd) -> str:
    path = fake.script(f"touch {fake.root}/ran", fake.root / "own/slurmd")
    path.chmod(0o775)
    return _unit(path)


def _shell(fake: FakeSlurmd) -> str:
    return _unit("/bin/sh", "-c 'exec slurmd -D'")


def _configless(fake: FakeSlurmd) -> str:
    return _unit(fake.script(f"touch {fake.root}/ran"), "-D --conf-server head")


# name: (the unit, why nothing is run)
NEVER = {
    "a wrapper": (_wrapper, "start-slurmd.sh, which is not slurmd"),
    "a script of that name": (_script_of_that_name, "is not Slurm's slurmd"),
    "a program that others may change": (_writable, "may be changed by others than root"),
    "a shell": (_shell, "/bin/sh, which is not slurmd"),
    "configless": (_configless, "takes its configuration from the controller: it is asked when it runs"),
}


@pytest.mark.parametrize(("unit", "why"), NEVER.values(), ids=NEVER.keys())
def test_nothing_is_started_that_is_not_certainly_slurmd(fake, unit, why) -> None:
    fake.configure("ClusterName=x\n")
    systemctl(fake, unit(fake))
    with pytest.raises(nvidia.Trouble, match=why):
        ask()
    assert not (fake.root / "ran").exists()


def test_true_programs_other_than_slurmd_are_refused() -> None:
    with pytest.raises(nvidia.Trouble, match="is not Slurm's slurmd"):
        slurmd_process.prove(Slurmd("1:1", sys.executable, sys.executable, ["slurmd"]))


def test_a_program_with_the_marks_of_slurmd_is_accepted(tmp_path) -> None:
    path = tmp_path / "slurmd"
    path.write_bytes(b"\x7fELF...%s/sbin/slurmstepd...Print node's GRES configuration and exit.")
    slurmd_process.prove(Slurmd("1:1", str(path), str(path), ["slurmd"]))


def test_a_node_without_slurm_has_no_slurmd(fake) -> None:
    with pytest.raises(slurmd_process.NoSlurmd, match="has no slurmd"):
        ask()


def test_slurmd_gets_the_name_that_it_was_started_by(fake) -> None:
    """Slurm's library knows by it in which program it is; by the name exe it refuses to work."""
    fake.start("-D")
    found = slurmd_process.running(LIMIT)
    assert found is not None
    assert [os.path.basename(name) for name in (found.words[0], found.program)] == ["slurmd", "exe"]
