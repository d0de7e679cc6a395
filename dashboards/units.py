"""How values are printed: Grafana's units, of base units only, to which both metric schemas are brought."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.models import units


@dataclass(frozen=True)
class Unit:
    """A unit by Grafana's id, with what its values lie between, and how many decimals are worth reading."""

    id: str
    least: float | None = None
    most: float | None = None
    decimals: int | None = None


RATIO = Unit(units.PercentUnit, 0, 1)
BYTES = Unit(units.BytesIEC, 0)
WATTS = Unit(units.Watt, 0)
KWH = Unit(units.KiloWattHour, 0)
CELSIUS = Unit(units.Celsius)
HERTZ = Unit(units.Hertz, 0)
# NVLink, PCIe, networks: by powers of ten.
RATE = Unit(units.BytesPerSecondSI, 0)
SECONDS = Unit(units.Seconds, 0)
# What is counted: GPUs, nodes, alerts, all digits of them: "1.99 K" nodes of 2,000 would hide six.
COUNT = Unit("locale", 0)
# Of a whole cluster parts of one tell nothing, and make the names of lines short of room.
MANY = Unit("locale", 0, decimals=0)
# GPU hours: of Grafana's own hours it makes years.
HOURS = Unit(units.Short, 0, decimals=1)
# Milliseconds since 1970.
AGO = Unit(units.DateTimeFromNow)
# What is no number, though it may look like one: ids, names.
NAME = Unit("string")
# Numbers that stand for words.
WORD = Unit(units.NoUnit)
