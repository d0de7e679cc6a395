"""Which map files the prolog takes for each way in which Slurm names GPUs: one table for each kind of node."""

from __future__ import annotations

import pytest

UUIDS = [f"GPU-{digit * 8}-aaaa-bbbb-cccc-{digit * 12}" for digit in "01234567"]
ALL_DIGITS = "GPU-12345678-1234-1234-1234-123456789012"
MINORS = (2, 3, 0, 1, 6, 7, 4, 5)
MIG = [f"MIG-{letter * 8}-aaaa-bbbb-cccc-{letter * 12}" for letter in "abcdef"]
UNKNOWN = "GPU-ffffffff-aaaa-bbbb-cccc-ffffffffffff"
MASKED = "GPU-????????-????-????-????-????????????"
HEAD = "# Device table of superpod-dcgm-exporter\nmade 1764020000\nfingerprint 3f2a\nlater kind of line\n"
JOB = "12"
NOTHING: dict[str, list[str]] = {}
EIGHT = "0,1,2,3,4,5,6,7"


def _table(names: dict[str, str], positions: list[str], gpus: int = 8) -> str:
    """Return a device table: UUID -> map name (maybe with ``shared``), and the map name at each position."""
    known = [f"gpu {index} {UUIDS[index]} {MINORS[index]} 00000000:{index}B:00.0\n" for index in range(gpus)]
    uuids = [f"uuid {uuid} {name}\n" for uuid, name in names.items()]
    return HEAD + "".join([*known, *uuids, *(f"position {at} {name}\n" for at, name in enumerate(positions))])


# The gres list is in the order of minor numbers, as with AutoDetect=nvidia.
BY_MINOR = _table(
    {**{uuid: str(index) for index, uuid in enumerate(UUIDS)}, ALL_DIGITS: "9"},
    [str(MINORS.index(minor)) for minor in range(8)],
)
# GPU 0 whole, GPU 1 with sparse instances, of which 1.5 has two compute instances; positions: whole GPUs first.
MIXED = _table(
    {UUIDS[0]: "0", UUIDS[1]: "1", MIG[0]: "1.3", MIG[1]: "1.5 shared", MIG[2]: "1.5 shared", MIG[3]: "1.13"},
    ["0", "1.3", "1.5 shared", "1.5 shared", "1.13"],
    gpus=2,
)
BROKEN = _table({UUIDS[0]: "../x", UUIDS[1]: "007", UUIDS[2]: "1.2.3", UUIDS[3]: "*"}, ["/etc/passwd", "-1", "x", "1."])

# name: (SLURM_JOB_GPUS, CUDA_VISIBLE_DEVICES, names of the map files, a word of the message or None, its reason)
WITHOUT_TABLE = {
    "positions": ("1,7", "1,7", "1 7", None, "ok"),
    "positions with UUIDs beside them": ("1,7", f"{UUIDS[3]},{UUIDS[4]}", "1 7", None, "ok"),
    "UUIDs alone": (None, UUIDS[3], "", UUIDS[3], "gpu"),
    "a MIG device with a position beside it": ("1", MIG[0], "", MIG[0], "gpu"),
    "an old driver's name with a position beside it": ("1", f"MIG-{UUIDS[1]}/3/0", "", "/3/0", "gpu"),
    "a whole GPU and a MIG device": ("0,1", f"0,{MIG[0]}", "0", MIG[0], "gpu"),
    "fewer MIG devices than positions": ("0,1", MIG[0], "", MIG[0], "gpu"),
}
GPUS = {
    "a position is a minor number": ("0", "0", "2", None, "ok"),
    "two positions": ("1,4", "1,4", "3 6", None, "ok"),
    "all positions": (EIGHT, EIGHT, EIGHT.replace(",", " "), None, "ok"),
    "one UUID": ("0", UUIDS[2], "2", None, "ok"),
    "eight UUIDs": (EIGHT, ",".join(UUIDS), EIGHT.replace(",", " "), None, "ok"),
    "a UUID that disagrees with its position wins": ("5", UUIDS[1], "1", None, "ok"),
    "UUIDs in another order than positions": ("0,1", f"{UUIDS[7]},{UUIDS[6]}", "6 7", None, "ok"),
    "a UUID without positions": (None, UUIDS[5], "5", None, "ok"),
    "a UUID with an empty list of positions": ("", UUIDS[5], "5", None, "ok"),
    "a UUID of digits alone": ("0", ALL_DIGITS, "9", None, "ok"),
    "a UUID named twice": ("0,1", f"{UUIDS[5]},{UUIDS[5]}", "5", None, "ok"),
    "an unknown UUID falls back to its position": ("0,1", f"{UNKNOWN},{UUIDS[5]}", "2 5", None, "ok"),
    "a masked UUID falls back to its position": ("0", MASKED, "2", None, "ok"),
    "NoDevFiles falls back to its position": ("0", "NoDevFiles", "2", None, "ok"),
    "a path falls back to its position": ("0,1", "../x,/etc/passwd", "2 3", None, "ok"),
    "a glob falls back to its position": ("0", "*", "2", None, "ok"),
    "a UUID with a command falls back to its position": ("0", "GPU-$(reboot)", "2", None, "ok"),
    "a UUID that is an index falls back to its position": ("0", "GPU-a[$(reboot)]", "2", None, "ok"),
    "more known UUIDs than positions": ("0", f"{UUIDS[4]},{UUIDS[5]}", "4 5", None, "ok"),
    "fewer known UUIDs than positions": ("0,1", UUIDS[4], "4", None, "ok"),
    "more UUIDs than positions, one unknown": ("0", f"{UUIDS[4]},{UNKNOWN}", "2", None, "ok"),
    "fewer UUIDs than positions, unknown": ("0,1", UNKNOWN, "2 3", None, "ok"),
    "no UUIDs": ("0,1", None, "2 3", None, "ok"),
    "an empty list of UUIDs": ("0,1", "", "2 3", None, "ok"),
    "a position that the table lacks": ("0,8", "0,8", "2", "'8'", "gpu"),
    "no position": ("0,x", "0,x", "2", "'x'", "gpu"),
    "an unknown UUID alone": (None, UNKNOWN, "", UNKNOWN, "gpu"),
    "a known UUID and an unknown one alone": (None, f"{UUIDS[4]},{UNKNOWN}", "4", UNKNOWN, "gpu"),
    "a masked UUID alone": (None, MASKED, "", MASKED, "gpu"),
    "a path alone": (None, "/etc/passwd", "", "/etc/passwd", "gpu"),
    "a glob alone": (None, "*", "", "'*'", "gpu"),
    "NoDevFiles alone": (None, "NoDevFiles", "", None, "ok"),
    "a MIG device that a stale table lacks": ("8", MIG[0], "", MIG[0], "gpu"),
    "a MIG device that a table without MIG lacks": ("0", MIG[0], "", MIG[0], "gpu"),
    "an instance of a GPU that a stale table lacks": ("8", f"MIG-{UNKNOWN}/7/0", "", UNKNOWN, "gpu"),
    "a list of 100 kB": ("0", f"{UUIDS[0]}," * 2500, "", "too long", "gpu"),
}
INSTANCES = {
    "a whole GPU of a mixed node": ("0", "0", "0", None, "ok"),
    "an instance by UUID": ("1", MIG[0], "1.3", None, "ok"),
    "an instance by position": ("1", "1", "1.3", None, "ok"),
    "an instance number of two digits": ("4", MIG[3], "1.13", None, "ok"),
    "a whole GPU and an instance": ("0,1", f"{UUIDS[0]},{MIG[0]}", "0 1.3", None, "ok"),
    "two compute instances of one GPU instance": ("2,3", f"{MIG[1]},{MIG[2]}", "1.5", None, "ok"),
    "two compute instances by position": ("2,3", "2,3", "1.5", None, "ok"),
    "the name of an old driver": ("1", f"MIG-{UUIDS[1]}/3/0", "1.3", None, "ok"),
    "two names of an old driver": (None, f"MIG-{UUIDS[1]}/3/0,MIG-{UUIDS[1]}/13/0", "1.13 1.3", None, "ok"),
    "an old driver's name of an unknown GPU": ("1", f"MIG-{UNKNOWN}/3/0", "", UNKNOWN, "gpu"),
    "an old driver's name with a path in it": ("1", f"MIG-{UUIDS[1]}/../0", "", "/../0", "gpu"),
    "an old driver's name with too many parts": ("1", f"MIG-{UUIDS[1]}/1/3/0", "", "no map file", "table"),
    "an unknown instance alone": (None, MIG[5], "", MIG[5], "gpu"),
    "an unknown instance at a position that a stale table lacks": ("7", MIG[5], "", MIG[5], "gpu"),
    "an unknown instance at a position that a stale table knows": ("1", MIG[5], "", MIG[5], "gpu"),
    "a known instance and an unknown one": ("1,4", f"{MIG[5]},{MIG[3]}", "1.13", MIG[5], "gpu"),
    "a whole GPU by position and an unknown instance": ("0,1", f"0,{MIG[5]}", "0", MIG[5], "gpu"),
    "an unknown whole GPU and an instance": ("0,1", f"{UNKNOWN},{MIG[3]}", "0 1.13", None, "ok"),
    "fewer known instances than positions": ("1,4", MIG[3], "1.13", None, "ok"),
    "fewer instances than positions, unknown": ("1,4", MIG[5], "", MIG[5], "gpu"),
    "more instances than positions, one unknown": ("1", f"{MIG[3]},{MIG[5]}", "1.13", MIG[5], "gpu"),
    "fewer devices than positions, the GPU unknown": ("0,1,4", f"{UNKNOWN},{MIG[0]}", "1.3", UNKNOWN, "gpu"),
}
BAD_TABLE = {
    "a path": (None, UUIDS[0], "", "'../x'", "table"),
    "a leading zero": (None, UUIDS[1], "", "'007'", "table"),
    "three numbers": (None, UUIDS[2], "", "'1.2.3'", "table"),
    "a glob": (None, UUIDS[3], "", "'*'", "table"),
    "an absolute path at a position": ("0", None, "", "'/etc/passwd'", "table"),
    "a sign": ("1", None, "", "'-1'", "table"),
    "a word": ("2", None, "", "'x'", "table"),
    "a number cut off": ("3", None, "", "'1.'", "table"),
}


def _cases(*tables: tuple[str, str | None, dict[str, tuple]]) -> list:
    return [
        pytest.param(table, *case, id=f"{title}: {name}")
        for title, table, cases in tables
        for name, case in cases.items()
    ]


@pytest.mark.parametrize(
    ("table", "positions", "devices", "names", "message", "outcome"),
    _cases(
        ("no table", None, WITHOUT_TABLE),
        ("minor order", BY_MINOR, GPUS),
        ("MIG", MIXED, INSTANCES),
        ("broken table", BROKEN, BAD_TABLE),
    ),
)
def test_the_prolog_finds_the_map_files_of_a_jobs_gpus(
    node, table, positions, devices, names, message, outcome
) -> None:
    node.settings(directory=node.directory, mig="yes")
    node.table(table)
    given = {"SLURM_JOB_GPUS": positions, "CUDA_VISIBLE_DEVICES": devices}
    assert node.run("prolog", SLURM_JOB_ID=JOB, **{key: text for key, text in given.items() if text is not None}) == 0
    assert node.map() == {name: [JOB] for name in names.split()}
    assert (message in node.log()) if message else node.log() == ""
    assert node.spool() == [("prolog", outcome)]


def test_a_table_that_names_nothing_is_not_the_same_as_no_table(node) -> None:
    node.table("")
    node.prolog(JOB, "0")
    assert node.map() == NOTHING
    assert node.spool() == [("prolog", "gpu")]


def test_what_is_no_file_in_the_place_of_the_table_counts_as_none(node) -> None:
    (node.runtime / "devices").mkdir()
    node.prolog(JOB, "3")
    assert node.map() == {"3": [JOB]}


def test_where_the_release_reads_no_mig_files_only_whole_gpus_are_written_and_it_is_said_once(node) -> None:
    node.table(MIXED)
    for job in ("12", "13"):
        node.prolog(job, "0,1,4")
        assert node.map() == {"0": [job]}
    assert node.spool() == [("prolog", "mig")] * 2
    assert node.log().count("MIG") == len(node.log().splitlines()) == 1


# name: (setting or None, environment, whether an id that was there before is kept)
SHARING = {
    "jobs do not share GPUs": ("no", {}, False),
    "settings of a release before there was sharing": (None, {}, True),
    "nothing is said of sharing": ("", {}, True),
    "a word of a later release": ("later", {}, True),
    "jobs share GPUs": ("yes", {}, True),
    "MPS, job with a share": ("mps", {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50"}, True),
    "MPS, job with a share of nothing": ("mps", {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": ""}, True),
    "MPS, job with a whole GPU": ("mps", {}, False),
    "a share of MPS where the site has none": ("no", {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50"}, False),
}


@pytest.mark.parametrize(("shared", "environment", "kept"), SHARING.values(), ids=SHARING.keys())
def test_another_id_on_the_same_gpu_is_kept_only_where_it_may_live(node, shared, environment, kept) -> None:
    node.settings(directory=node.directory, **({} if shared is None else {"shared": shared}))
    node.put("0", "123\n")
    node.put("1", "112\n")
    node.run("prolog", SLURM_JOB_ID=JOB, SLURM_JOB_GPUS="0", **environment)
    assert node.map() == {"0": ["123", JOB] if kept else [JOB], "1": ["112"]}


# name: (setting, kinds of gres in the table, environment, whether an id that was there before is kept)
TOLD = {
    "slurmd has shards": ("no", ("shard",), {}, True),
    "slurmd has MPS, job with a share": ("no", ("mps",), {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50"}, True),
    "slurmd has MPS, job with a whole GPU": ("no", ("mps",), {}, False),
    "slurmd has both": ("no", ("mps", "shard"), {}, True),
    "the pillar has MPS, slurmd shards": ("mps", ("shard",), {}, True),
    "the pillar has shards, slurmd MPS": ("yes", ("mps",), {}, True),
    "neither": ("no", (), {}, False),
}


@pytest.mark.parametrize(("shared", "kinds", "environment", "kept"), TOLD.values(), ids=TOLD.keys())
def test_jobs_share_a_gpu_where_slurmd_says_so_whatever_the_pillar_says(node, shared, kinds, environment, kept) -> None:
    node.settings(directory=node.directory, shared=shared)
    node.table(MIXED + "".join(f"gres {kind}\n" for kind in kinds))
    node.put("0", "123\n")
    node.run("prolog", SLURM_JOB_ID=JOB, SLURM_JOB_GPUS="0", **environment)
    assert node.map() == {"0": ["123", JOB] if kept else [JOB]}


@pytest.mark.parametrize("devices", ["2,1", f"{MIG[1]},{MIG[0]}", f"MIG-{UUIDS[1]}/5/1,MIG-{UUIDS[1]}/3/0"])
def test_compute_instances_of_one_gpu_instance_share_its_file_and_others_do_not(node, devices) -> None:
    node.settings(directory=node.directory, mig="yes", shared="no")
    node.table(MIXED)
    node.put("1.5", "123\n")
    node.put("1.3", "112\n")
    node.run("prolog", SLURM_JOB_ID=JOB, SLURM_JOB_GPUS="2,1", CUDA_VISIBLE_DEVICES=devices)
    assert node.map() == {"1.3": [JOB], "1.5": ["123", JOB]}


@pytest.mark.parametrize("first", ["prolog", "epilog"])
def test_on_a_shared_gpu_the_next_jobs_prolog_and_the_last_ones_epilog_may_come_in_any_order(node, first) -> None:
    node.settings(directory=node.directory, shared="yes")
    node.prolog(11, "0")
    steps = {"prolog": lambda: node.prolog(12, "0"), "epilog": lambda: node.epilog(11, "0")}
    for kind in (first, *(kind for kind in steps if kind != first)):
        steps[kind]()
    assert node.map() == {"0": ["12"]}
