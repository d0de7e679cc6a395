"""What numbers and names mean, in words and colours: XIDs, health, severities, throttling."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as m
from superpod_dcgm.monitoring import xids

GOOD, NOTED, WARNING, BAD, QUIET = "green", "blue", "orange", "red", "text"
_COLOURS = {"critical": BAD, "warning": WARNING, "info": NOTED, "": QUIET}


def mapped(values: dict[str, tuple[str, str]]) -> m.ValueMap:
    """Return a mapping of values to text and colour."""
    options = {
        value: m.ValueMappingResult(text=text or None, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(values.items())
    }
    return m.ValueMap(options=options)


XIDS = mapped(
    {str(xid): (f"{xid}: {one.what}", _COLOURS[one.severity]) for one in xids.CLASSES.values() for xid in one.xids}
)
SEVERITY_COLOURS = {name: colour for name, colour in _COLOURS.items() if name}
SEVERITIES = mapped({name: ("", colour) for name, colour in SEVERITY_COLOURS.items()})
# DCGM_EXP_GPU_HEALTH_STATUS.
HEALTH = mapped({"0": ("good", GOOD), "10": ("warning", WARNING), "20": ("failure", BAD)})
# DCGM_FI_DEV_FABRIC_HEALTH_SUMMARY.
FABRIC = mapped({"0": ("none", QUIET), "1": ("good", GOOD), "2": ("bad", BAD), "3": ("limited", WARNING)})
YES_IS_BAD = mapped({"0": ("no", GOOD), "1": ("yes", BAD)})
ANSWERS = mapped({"0": ("no answer", BAD), "1": ("answers", GOOD)})
EVENTS = mapped({"0": ("no", GOOD), "1": ("yes", WARNING)})
