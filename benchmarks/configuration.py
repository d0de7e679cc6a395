"""
How long a minion takes to compile ``dcgm`` and all that it includes, with one configuration per run, or one per SLS.

``python benchmarks/configuration.py [CHECKOUT …]`` compiles it again and again in one process per variant, in turn, and
prints milliseconds of CPU. Other checkouts of this repository, older ones for example, are compared in the same run.
"""

from __future__ import annotations

import copy
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
ROUNDS, COMPILATIONS = 3, 8
GRAINS = {
    **{"id": "dgx-01", "host": "dgx-01", "nodename": "dgx-01", "kernel": "Linux", "init": "systemd"},
    **{"cpuarch": "x86_64", "os": "Ubuntu", "os_family": "Debian", "oscodename": "jammy", "osrelease": "22.04"},
}


def options(checkout: Path, root: str) -> dict[str, Any]:
    """Return the configuration of a minion without a master, whose file root is a checkout."""
    import salt.config

    found = salt.config.apply_minion_config(
        {
            **{"id": "dgx-01", "conf_file": f"{root}/minion", "root_dir": root, "cachedir": f"{root}/cache"},
            **{"extension_modules": f"{root}/extmods", "file_client": "local", "saltenv": "base"},
            **{"file_roots": {"base": [str(checkout / "salt")]}, "module_dirs": [str(checkout)]},
        },
        defaults=copy.deepcopy(salt.config.DEFAULT_MINION_OPTS),
    )
    return {**found, "grains": {**GRAINS, "osmajorrelease": 22, "systemd": {"version": "249"}}}


def forget() -> None:
    """Let every SLS compute the configuration: each question counts as one of another run."""
    (module,) = [module for name, module in sys.modules.items() if name.endswith(".module.dcgm_config")]
    files = module._files
    module._files = lambda saltenv: dict(files(saltenv))


def measure(checkout: Path, per_sls: bool) -> list[float]:
    """Return the milliseconds of CPU of each compilation but the first, which loads modules."""
    sys.path.insert(0, str(checkout / "_utils"))
    import salt.state

    logging.disable(logging.CRITICAL)
    taken = []
    with (
        tempfile.TemporaryDirectory() as root,
        salt.state.HighState(options(checkout, root), initial_pillar={}) as high_state,
    ):
        for _ in range(COMPILATIONS):
            high_state.building_highstate = type(high_state.building_highstate)()
            high_state.push_active()
            begin = time.process_time()
            _, errors = high_state.render_highstate({"base": ["dcgm"]})
            taken.append((time.process_time() - begin) * 1000)
            high_state.pop_active()
            assert not errors, errors
            if per_sls and len(taken) == 1:
                forget()
    return taken[1:]


def main(others: list[str]) -> None:
    variants = {"one configuration per run": [str(HERE)], "one per SLS": [str(HERE), "per-sls"]}
    variants |= {other: [str(Path(other).resolve())] for other in others}
    found: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, arguments in variants.items():
            done = subprocess.run([sys.executable, __file__, "--measure", *arguments], capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr[-2000:]}")
            found[name] += json.loads(done.stdout.splitlines()[-1])
    print(f"{ROUNDS} x {COMPILATIONS - 1} compilations each, milliseconds of CPU")
    for name, taken in found.items():
        print(f"{name:<30} median {statistics.median(taken):7.1f}   least {min(taken):7.1f}   most {max(taken):7.1f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), sys.argv[3:] == ["per-sls"])))
    else:
        main(sys.argv[1:])
