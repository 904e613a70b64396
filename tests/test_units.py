"""Quantities at the border: what is understood, what is refused, and how it is printed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from edgenet import units
from edgenet.units import BYTES, FREQUENCY, RATE, TIME, WATTS, Scale


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (units.parse_rate, "20 Mbit", 20e6),
        (units.parse_rate, "54 Mbit/s", 54e6),
        (units.parse_rate, "100 kbit", 100e3),
        (units.parse_rate, "1 Gbit", 1e9),
        (units.parse_rate, "  2.5Gbit/s ", 2.5e9),
        (units.parse_rate, "1e3 bit", 1000.0),
        (units.parse_time, "25 ms", 0.025),
        (units.parse_time, "30 us", 30e-6),
        (units.parse_time, "30 s", 30.0),
        (units.parse_time, "2 min", 120.0),
        (units.parse_time, "0 s", 0.0),
        (units.parse_length, "500 m", 500.0),
        (units.parse_length, "1.2 km", 1200.0),
        (units.parse_length, "-40 m", -40.0),
        (units.parse_length, 7, 7.0),
        (units.parse_bytes, "512 MB", 512_000_000),
        (units.parse_bytes, "256 KiB", 262_144),
        (units.parse_bytes, "1.5 GB", 1_500_000_000),
        (units.parse_fraction, "0.1 %", 0.001),
        (units.parse_fraction, "100 %", 1.0),
        (units.parse_fraction, 0.001, 0.001),
        (units.parse_fraction, "0.5", 0.5),
        (units.parse_frequency, "20 MHz", 20e6),
        (units.parse_power, "30 dBm", 1.0),
        (units.parse_power, "10 mW", 0.01),
        (units.fraction_or_count, "50 %", 0.5),
        (units.fraction_or_count, 3, 3.0),
    ],
)
def test_quantities_become_si(
    parse: Callable[[object], float], text: object, expected: float
) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (
            units.parse_rate,
            "20 Mbits",
            "'20 Mbits' is no rate; write a number and one of bit, kbit, Mbit, Gbit, optionally /s",
        ),
        (units.parse_rate, "20 MB", "'20 MB' is no rate; write a number and one of bit, kbit"),
        (units.parse_rate, 20, "20 is no rate; write a number and one of bit"),
        (units.parse_rate, True, "True is no rate"),
        (units.parse_rate, None, "None is no rate"),
        (units.parse_rate, "nan Mbit", "'nan Mbit' is no rate"),
        (units.parse_rate, "inf Mbit", "'inf Mbit' is no rate"),
        (units.parse_rate, "-3 Mbit", "'-3 Mbit' is negative; a rate cannot be"),
        (units.parse_rate, "0 bit", "'0 bit' is out of range; a rate here lies between 1 bit and"),
        (units.parse_rate, "1e300 Gbit", "'1e300 Gbit' is out of range"),
        (units.parse_rate, "1e9999 Gbit", "'1e9999 Gbit' is no rate"),
        (units.parse_time, "1 year", "'1 year' is no time; write a number and one of us, ms, s"),
        (units.parse_time, "1 s/s", "'1 s/s' is no time"),
        (units.parse_time, "-1 s", "'-1 s' is negative; a time cannot be"),
        (units.parse_length, "3 ft", "write a number and one of cm, m, km, or a bare number in m"),
        (units.parse_length, math.nan, "nan is no length"),
        (units.parse_bytes, "512", "'512' is no size; write a number and one of B, kB, MB"),
        (units.parse_fraction, "150 %", "out of range; a fraction here lies between 0 and 1"),
        (units.parse_fraction, math.nan, "nan is no fraction; write a number and %, or a number"),
        (units.parse_power, "3 hp", "'3 hp' is no power; write a number and one of dBm, mW, W"),
        (units.parse_power, "99 dBm", "'99 dBm' is out of range"),
        (units.fraction_or_count, 0, "0 is no fraction in (0, 1] and no whole count above 1"),
        (units.fraction_or_count, 2.5, "2.5 is no fraction in (0, 1] and no whole count above 1"),
        (units.fraction_or_count, math.inf, "inf is no fraction"),
        (units.fraction_or_count, True, "True is no fraction and no count"),
    ],
)
def test_nonsense_is_refused_with_the_valid_units(
    parse: Callable[[object], float], text: object, message: str
) -> None:
    with pytest.raises(ValueError, match="is ") as caught:
        parse(text)
    assert message in str(caught.value)


def test_a_long_value_does_not_flood_the_message() -> None:
    with pytest.raises(ValueError, match="is no rate") as caught:
        units.parse_rate("9" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.format_rate(20e6), "20 Mbit/s"),
        (units.format_rate(999_960_000), "1 Gbit/s"),
        (units.format_rate(math.inf), "unlimited"),
        (units.format_time(0.0255), "25.5 ms"),
        (units.format_time(0), "0 s"),
        (units.format_time(120), "2 min"),
        (units.format_length(1200), "1.2 km"),
        (units.format_bytes(26.4e6), "26.4 MB"),
        (units.format_bytes(999), "999 B"),
        (units.format_memory(512 * 2**20), "512 MiB"),
        (units.format_memory(2**30), "1 GiB"),
        (units.format_fraction(0.001), "0.1 %"),
        (units.format_flops(4.2e9), "4.2 GFLOP/s"),
    ],
)
def test_numbers_print_short(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize("scale", [RATE, TIME, BYTES, FREQUENCY, WATTS], ids=lambda s: s.noun)
def test_exact_text_reads_back_as_the_same_float(scale: Scale) -> None:
    draw = random.Random(5)
    for _ in range(500):
        value = 10 ** draw.uniform(0.1, 3.9)
        for number in (value, round(value, 2), float(round(value))):
            assert units.parse(units.exact(number, scale), scale) == number


def test_exact_text_is_as_one_would_write_it() -> None:
    assert units.exact(0.025, TIME) == "25 ms"
    assert units.exact(46.7e6, RATE) == "46.7 Mbit"
    assert units.exact(262_144.0, BYTES) == "256 KiB"
