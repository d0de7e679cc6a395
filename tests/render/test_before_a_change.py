"""What has to be known of a node before the states change anything of the exporter."""

from __future__ import annotations

from rendering import UBUNTU


def test_nothing_of_the_exporter_is_changed_before_it_is_known_that_it_can_run_here(compiler) -> None:
    with compiler(UBUNTU, {"dcgm": {"exporter": {"release": "4.4.2-4.7.1", "method": "artifact"}}}) as compile_states:
        steps = compile_states.low("dcgm.exporter")
    (check,) = [step for step in steps if step["state"] == "dcgm_preflight"]
    assert (check["libdcgm"], check["nvml"], check["validates"]) == ("libdcgm.so.4", True, True)
    checked, counters = {"dcgm_preflight": check["__id__"]}, {"dcgm_counters": "Install the counters of dcgm-exporter"}
    changing = {
        "Install the counters of dcgm-exporter": checked,
        "Write the environment of dcgm-exporter": counters,
        "Write dcgm-exporter.service": counters,
        "Start or stop dcgm-exporter as the node's roles say": checked,
    }
    for name, need in changing.items():
        (step,) = [step for step in steps if step["__id__"] == name and step["fun"] != "mod_watch"]
        assert need in step["require"], name
