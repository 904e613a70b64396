"""Quantities at the border: text with a unit becomes an SI float, and a float becomes text again.

`parse_*` turn '20 Mbit' into 20e6 or raise ValueError with one clause that names the valid units;
`format_*` make short text for tables (three digits); `exact_*` make text that parses back to the
very same float. k, M and G are decimal everywhere; only Ki, Mi and Gi are binary (IEC 80000-13).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

Quantity = object
"""What stands in the file: text with a unit, or (for fractions and metres) a bare number."""

_NUMBER = re.compile(r"([+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,3})?)\s*(\S*)")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A physical quantity: its units, and the values that make sense."""

    noun: str
    """As in "'x' is no rate"."""
    units: Mapping[str, str]
    """Unit -> factor to SI, as decimal text; in the order in which a message lists them."""
    least: float = 0.0
    """Smallest value allowed."""
    most: float = math.inf
    """Largest value allowed."""
    suffix: str = ""
    """Optional ending of every unit ('/s' for rates)."""
    bare: str = ""
    """The unit of a bare number; '' = a number without a unit is refused."""

    @property
    def choices(self) -> str:
        """What a message says after 'write a number and'."""
        listed = ("one of " if len(self.units) > 1 else "") + ", ".join(self.units)
        return listed + (f", optionally {self.suffix}" if self.suffix else "")


RATE = Scale(
    noun="rate",
    units={"bit": "1", "kbit": "1e3", "Mbit": "1e6", "Gbit": "1e9"},
    least=1.0,
    most=1e15,
    suffix="/s",
)
TIME = Scale(
    noun="time",
    units={"us": "1e-6", "ms": "1e-3", "s": "1", "min": "60", "h": "3600"},
    most=1e7,
)
LENGTH = Scale(
    noun="length", units={"cm": "0.01", "m": "1", "km": "1e3"}, least=-1e7, most=1e7, bare="m"
)
BYTES = Scale(
    noun="size",
    units={
        "B": "1",
        "kB": "1e3",
        "MB": "1e6",
        "GB": "1e9",
        "KiB": "1024",
        "MiB": "1048576",
        "GiB": "1073741824",
    },
    least=1.0,
    most=1e15,
)
FRACTION = Scale(noun="fraction", units={"%": "0.01"}, most=1.0, bare="1")
FREQUENCY = Scale(
    noun="frequency", units={"Hz": "1", "kHz": "1e3", "MHz": "1e6", "GHz": "1e9"}, most=1e12
)
WATTS = Scale(noun="power", units={"mW": "1e-3", "W": "1"}, most=1e4)


def parse(value: Quantity, scale: Scale) -> float:
    """`value` in SI units.

    Raises:
        ValueError: no number, a wrong or missing unit, NaN, infinite, negative, or absurd.
    """
    number, unit = _split(value, scale)
    if unit and scale.suffix and unit.endswith(scale.suffix):
        unit = unit[: -len(scale.suffix)]
    unit = unit or scale.bare
    factor = "1" if unit == scale.bare != "" else scale.units.get(unit)
    if factor is None:
        raise ValueError(_wrong(value, scale))
    return _within(float(Decimal(number) * Decimal(factor)), value, scale)


def parse_rate(value: Quantity) -> float:
    """Bits per second from '20 Mbit', '54 Mbit/s', '100 kbit', '1 Gbit'."""
    return parse(value, RATE)


def parse_time(value: Quantity) -> float:
    """Seconds from '25 ms', '30 s', '2 min'."""
    return parse(value, TIME)


def parse_length(value: Quantity) -> float:
    """Metres from '500 m', '1.2 km', or a bare number; coordinates may be negative."""
    return parse(value, LENGTH)


def parse_bytes(value: Quantity) -> int:
    """Bytes from '512 MB' (decimal), '256 KiB' (binary), '1.5 GB'; rounded to a whole byte."""
    return round(parse(value, BYTES))


def parse_fraction(value: Quantity) -> float:
    """A fraction of one from '0.1 %' or 0.001."""
    return parse(value, FRACTION)


def parse_frequency(value: Quantity) -> float:
    """Hertz from '20 MHz'."""
    return parse(value, FREQUENCY)


def parse_power(value: Quantity) -> float:
    """Watts from '10 dBm' (10 mW), '200 mW', '1 W'."""
    match = re.fullmatch(r"\s*([+-]?\d{1,3}(?:\.\d{1,9})?)\s*dBm\s*", str(value))
    if match and isinstance(value, str):
        return _within(float(10 ** (float(match[1]) / 10 - 3)), value, WATTS)
    try:
        return parse(value, WATTS)
    except ValueError as error:
        raise ValueError(str(error).replace("one of mW", "one of dBm, mW")) from None


def format_rate(rate_bps: float) -> str:
    """'20 Mbit/s'; 'unlimited' for an infinite rate."""
    return "unlimited" if math.isinf(rate_bps) else _short(rate_bps, RATE, "bit") + "/s"


def format_time(time_s: float) -> str:
    """'25 ms', '1.5 s', '2 min'."""
    return _short(time_s, TIME, "s")


def format_length(length_m: float) -> str:
    """'500 m', '1.2 km'."""
    return _short(length_m, LENGTH, "m")


def format_bytes(count: float) -> str:
    """'26.4 MB': decimal units."""
    decimal = {unit: factor for unit, factor in BYTES.units.items() if "i" not in unit}
    return _short(count, Scale(noun="size", units=decimal), "B")


def format_memory(count: float) -> str:
    """'512 MiB', '4 GiB': binary units, as memory is sold in."""
    binary = {unit: factor for unit, factor in BYTES.units.items() if unit == "B" or "i" in unit}
    return _short(count, Scale(noun="size", units=binary), "B")


def format_fraction(fraction: float) -> str:
    """'0.1 %'."""
    return f"{fraction * 100:.3g} %"


def format_flops(flops: float) -> str:
    """'4.2 GFLOP/s'."""
    units = {"FLOP/s": "1", "MFLOP/s": "1e6", "GFLOP/s": "1e9", "TFLOP/s": "1e12"}
    return _short(flops, Scale(noun="speed", units=units), "FLOP/s")


def exact(value: float, scale: Scale) -> str:
    """Text that `parse(..., scale)` turns into exactly `value`, with the largest unit that fits."""
    largest_first = sorted(scale.units.items(), key=lambda item: -float(item[1]))
    for unit, factor in largest_first:
        text = f"{value / float(factor):.12g}"
        fits = "e" not in text and abs(float(text)) >= 1
        if fits and float(Decimal(text) * Decimal(factor)) == value:
            return f"{text} {unit}"
    base = next((unit for unit, factor in scale.units.items() if factor == "1"), "")
    return f"{value!r} {base}".strip()


def fraction_or_count(value: Quantity) -> float:
    """'50 %', 0.5 (a fraction in (0, 1]) or 3 (a count above 1), as `faults.quorum` takes it."""
    if isinstance(value, str):
        number = parse_fraction(value)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{_show(value)} is no fraction and no count")
    else:
        number = float(value)
    whole = number <= 1 or number == int(number) if math.isfinite(number) else False
    if not (0 < number <= 1e6 and whole):
        raise ValueError(f"{_show(value)} is no fraction in (0, 1] and no whole count above 1")
    return number


Parser = Callable[[Quantity], float]
"""Any of the `parse_*` functions."""


def _split(value: Quantity, scale: Scale) -> tuple[str, str]:
    """The number and the unit of `value`, as text."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(_wrong(value, scale))
    text = value if isinstance(value, str) else repr(value)
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError(_wrong(value, scale))
    return match[1], match[2]


def _within(number: float, value: Quantity, scale: Scale) -> float:
    if number < 0 <= scale.least:
        raise ValueError(f"{_show(value)} is negative; a {scale.noun} cannot be")
    if not scale.least <= number <= scale.most:
        raise ValueError(
            f"{_show(value)} is out of range; a {scale.noun} here lies between "
            f"{_bound(scale.least, scale)} and {_bound(scale.most, scale)}"
        )
    return number


def _bound(number: float, scale: Scale) -> str:
    return "0" if number == 0 else "1" if scale is FRACTION else exact(number, scale)


def _wrong(value: Quantity, scale: Scale) -> str:
    bare = f", or a bare number in {scale.bare}" if len(scale.bare) and scale.bare != "1" else ""
    bare = ", or a number between 0 and 1" if scale is FRACTION else bare
    return f"{_show(value)} is no {scale.noun}; write a number and {scale.choices}{bare}"


def _show(value: Quantity) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _short(value: float, scale: Scale, base: str) -> str:
    """Three significant digits and the largest unit that leaves at least 1 before the point."""
    ordered = sorted(scale.units.items(), key=lambda item: float(item[1]))
    unit, factor = base, scale.units[base]
    if value != 0:
        fitting = [item for item in ordered if abs(value) >= 0.9995 * float(item[1])]
        unit, factor = fitting[-1] if fitting else ordered[0]
    number = value / float(factor)
    return f"{number:.0f} {unit}" if abs(number) >= 1000 else f"{number:.3g} {unit}"
