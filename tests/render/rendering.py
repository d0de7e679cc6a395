"""How the render tests compile: Salt's own compiler over this file root, with the grains of any machine."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import salt.config
import salt.state
import salt.utils.yaml
from salt.utils.jinja import SerializerExtension

REPOSITORY = Path(__file__).resolve().parents[2]
FILE_ROOT = REPOSITORY / "salt"
UBUNTU = {"os": "Ubuntu", "os_family": "Debian", "oscodename": "jammy", "osrelease": "22.04", "osmajorrelease": 22}
MACHINES = {
    "Ubuntu 22.04": UBUNTU,
    "Ubuntu 24.04 on arm64": {**UBUNTU, "oscodename": "noble", "osrelease": "24.04", "cpuarch": "aarch64"},
    "Debian 13": {**UBUNTU, "os": "Debian", "oscodename": "trixie", "osrelease": "13", "osmajorrelease": 13},
    "Rocky 8": {"os": "Rocky", "os_family": "RedHat", "osrelease": "8.10", "osmajorrelease": 8},
    "RHEL 9": {"os": "RedHat", "os_family": "RedHat", "osrelease": "9.4", "osmajorrelease": 9},
}
REQUISITES = (
    *("require", "watch", "onchanges", "onfail", "prereq", "listen", "use"),
    *("require_any", "watch_any", "onchanges_any", "onfail_any", "onfail_all"),
)


def read_yaml(path: Path) -> Any:
    return salt.utils.yaml.safe_load(path.read_text())


# Everything is of some machine's interest: this one is the monitoring host too.
MONITORED = {"dcgm": {"hosts": {"monitoring": "*"}}}
# What a site applies; the switches decide what is in it.
ENTRIES = ("dcgm", "dcgm.head", "dcgm.prometheus", "dcgm.clean")


def all_states() -> list[str]:
    """Return the name of every SLS of the namespace; those of the reactor are rendered with an event, not as states."""
    names = [path.relative_to(FILE_ROOT).with_suffix("") for path in sorted(FILE_ROOT.glob("dcgm/**/*.sls"))]
    return [".".join(name.parts).removesuffix(".init") for name in names if "reactor" not in name.parts]


class Compiler:
    """Compiles states as a minion does, without running any."""

    def __init__(self, high_state: salt.state.HighState) -> None:
        self.high_state = high_state
        self.functions = high_state.state.functions

    def low(self, *names: str) -> list[dict[str, Any]]:
        """Return the single steps of these SLS; ids that clash and unknown states fail here."""
        # One high state compiles many SLS in turn, which Salt itself never does: start from nothing each time.
        self.high_state.building_highstate = type(self.high_state.building_highstate)()
        self.high_state.push_active()
        try:
            high, errors = self.high_state.render_highstate({"base": list(names)})
            state = self.high_state.state
            if "__extend__" in high:
                high, more = state.reconcile_extend(high)
                errors += more
            errors += state.verify_high(high)
            high, more = state.requisite_in(high)
            errors += more
            assert errors == [], errors
            chunks, errors = state.compile_high_data(high)
            assert errors == [], errors
            return chunks
        finally:
            self.high_state.pop_active()

    def templates(self, chunks: list[dict[str, Any]]) -> dict[str, str]:
        """Return the text that each template of these steps writes, by its path in the file root."""
        managed = [chunk for chunk in chunks if chunk.get("template") and chunk["source"].startswith("salt://")]
        return {chunk["source"].removeprefix("salt://"): self._text(chunk) for chunk in managed}

    def _text(self, chunk: dict[str, Any]) -> str:
        path = FILE_ROOT / chunk["source"].removeprefix("salt://")
        return self.functions["file.apply_template_on_contents"](
            path.read_text(), chunk["template"], chunk.get("context", {}), chunk.get("defaults", {}), "base"
        )


def unresolved(chunks: list[dict[str, Any]]) -> list[str]:
    """Return the requisites that lead nowhere."""
    known = {("sls", chunk["__sls__"]) for chunk in chunks}
    for chunk in chunks:
        known |= {(kind, chunk[key]) for kind in (chunk["state"], "id") for key in ("__id__", "name")}
    return [
        f"{chunk['__id__']}: {requisite}: {wanted}"
        for chunk in chunks
        for requisite in REQUISITES
        for wanted in chunk.get(requisite, [])
        if not (set(wanted.items()) if isinstance(wanted, dict) else {("id", wanted)}) <= known
    ]


def _master(root: Path) -> None:
    """Orchestrations ask a runner for the hosts, which dcgm.watcher has written on a real head."""
    hosts = {**read_yaml(FILE_ROOT / "dcgm/defaults.yaml")["hosts"], "head": "bcm-01", "monitoring": "bcm-01"}
    (root / "var/cache/salt/master/proc").mkdir(parents=True)
    (root / "watcher.json").write_text(json.dumps({"hosts": hosts}))
    configuration = {
        "root_dir": str(root),
        "module_dirs": [str(REPOSITORY)],
        "superpod_dcgm_settings": str(root / "watcher.json"),
    }
    (root / "master").write_text(json.dumps(configuration))


@pytest.fixture(scope="session")
def minion_options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("minion")
    _master(root)
    return salt.config.apply_minion_config(
        {
            "id": "dgx-01",
            "conf_file": str(root / "minion"),
            "root_dir": str(root),
            "cachedir": str(root / "cache"),
            "extension_modules": str(root / "extmods"),
            "file_client": "local",
            "file_roots": {"base": [str(FILE_ROOT)]},
            "pillar_roots": {"base": []},
            "module_dirs": [str(REPOSITORY)],
            "saltenv": "base",
        },
        defaults=copy.deepcopy(salt.config.DEFAULT_MINION_OPTS),
    )


@pytest.fixture(scope="session", autouse=True)
def parse_once() -> Iterator[None]:
    """Every SLS of a node imports the same three YAML files, and these tests compile hundreds: parse each text once."""
    load_yaml, known = SerializerExtension.load_yaml, {}

    def load_known(self: SerializerExtension, value: Any) -> Any:
        text = str(value)
        if text not in known:
            known[text] = load_yaml(self, value)
        return copy.deepcopy(known[text])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SerializerExtension, "load_yaml", load_known)
        yield


@pytest.fixture(scope="session")
def compiler(minion_options: dict[str, Any]) -> Any:
    """Return a function that gives a compiler for a machine's grains and a pillar, as a context manager."""

    @contextmanager
    def compile_for(machine: dict[str, Any], pillar: dict[str, Any]) -> Iterator[Compiler]:
        options = copy.deepcopy(minion_options)
        grains = {"id": "dgx-01", "host": "dgx-01", "nodename": "dgx-01", "kernel": "Linux", "init": "systemd"}
        options["grains"] = {**grains, "cpuarch": "x86_64", "systemd": {"version": "252"}, **machine}
        with salt.state.HighState(options, initial_pillar=pillar) as high_state:
            yield Compiler(high_state)

    return compile_for


@pytest.fixture(scope="session")
def applied(compiler: Any) -> Any:
    """Return a function that compiles once per machine what a site applies: steps by entry, texts by template."""
    known: dict[str, tuple[dict[str, list[dict[str, Any]]], dict[str, str]]] = {}

    def compile_once(machine: str) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
        if machine not in known:
            with compiler(MACHINES[machine], MONITORED) as compile_states:
                steps = {entry: compile_states.low(entry) for entry in ENTRIES}
                known[machine] = steps, compile_states.templates([chunk for entry in steps.values() for chunk in entry])
        return known[machine]

    return compile_once
