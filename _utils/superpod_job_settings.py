"""What prolog, epilog and the services of a node have to know of the configuration: the lines of job-map.conf."""

from __future__ import annotations

import os
from typing import Any

import superpod_paths


def lines(configuration: dict[str, Any]) -> dict[str, str]:
    """
    Return the settings of job-map.conf by key, in the order in which they are written.

    :param configuration: the whole, as ``superpod_config.settings`` returns it.
    """
    slurm, job_map, metrics = (configuration[section] for section in ("slurm", "job_map", "metrics"))
    own = metrics["textfile_directory"] or superpod_paths.TEXTFILE_DIRECTORY
    values = {
        **{"directory": job_map["directory"], "time_limit": job_map["time_limit"], "log": job_map["log"]},
        **{"shared": _shared(slurm["gres"]), "users": job_map["users"], "positions": slurm["positions"]},
        **{key: job_map[key] for key in ("grace", "reconcile")},
        **{"textfile": own if metrics["enabled"] else "", "port": metrics["port"]},
        **{key: slurm[key] for key in ("prolog_link", "epilog_link")},
        **of_release(configuration["exporter"]["facts"], job_map["label"]),
    }
    return {key: _text(value) for key, value in values.items()}


def of_release(facts: dict[str, Any], label: bool) -> dict[str, str]:
    """
    Return the settings that depend on how a release of the exporter reads the map.

    :param facts: what compatibility.yaml says of it.
    :param label: whether it reads the map; what it cannot read does no harm where it reads nothing.
    """
    idle = "unlink" if facts["empty_hides"] else "empty"
    return {"idle": idle, "mig": _text(facts["mig_map"] or not label)}


def _shared(gres: list[str]) -> str:
    """Return when a GPU may hold several live jobs: the environment of a job tells mps, but not shard, from gpu."""
    return "yes" if "shard" in gres else "mps" if "mps" in gres else "no"


def _text(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def python(executable: str) -> str:
    """
    Return the Python that runs the services of a node: Salt's own, since RHEL 8 has only 3.6.

    :param executable: what Salt itself runs by. Its name may carry a version that an update of Salt replaces.
    """
    stable = os.path.join(os.path.dirname(executable), "python3")
    # /usr/bin/python3 may be another Python than the /usr/bin/python3.11 that runs Salt.
    return stable if os.path.realpath(stable) == os.path.realpath(executable) else executable
