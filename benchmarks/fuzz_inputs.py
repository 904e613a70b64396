"""Inputs for a fuzzed target: random bytes, and valid inputs with changes."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Target:
    """One reader of foreign bytes."""

    name: str
    run: Callable[[bytes], None]
    """Reads an input; raises `refusals` for what it does not accept."""
    refusals: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]
    """Inputs that it accepts."""
    share: float
    """Of all inputs."""
    words: tuple[bytes, ...] = ()
    """What is worth inserting."""


YAML = tuple(
    word.encode()
    for word in (
        "&a ", "*a", "<<: *a\n", "!!python/object/apply:os.system ['true']\n", "!x ",
        "%YAML 9.9\n", "---\n", "...\n", "? ", "- ", ": ", "{", "}", "[", "]", "|\n", ">\n", "\t",
        "\u0000", "\ufeff", "\u2028", "'", "\"", "#", "[" * 300, "{a: " * 300, "- " * 300,
        "9" * 5000, "1e999", "-1e999", ".nan", ".inf", "nan", "-0", "1e-400", "0x10", "1_000",
        "2147483648", "18446744073709551616", "count: 1000000000\n", "count: -1\n",
        "count: 1.5\n", "1e30 dBm", "1e9 Gbit", "-1 ms", "1e300 s", "\"\\0\"", "\"\\uD800\"",
        "null", "~", "true", "a: 1\na: 2\n", "  ", "\n", "\r", "x" * 5000,
    )
)  # fmt: skip
"""What YAML, and a topology, may stumble over."""
NUMBERS = tuple(
    struct.pack(form, value)
    for form in ("<B", "<H", "<I", "<Q", ">I")
    for value in (0, 1, 127, 255, 2**15, 2**31, 2**32 - 1, 2**39, 2**63, 2**64 - 1)
    if value < 256 ** struct.calcsize(form)
)


def mutated(draw: random.Random, target: Target) -> bytes:
    """An input: now and then random bytes, mostly one that is accepted with a few changes."""
    if draw.random() < 0.1:
        return draw.randbytes(draw.randrange(512))
    data = bytearray(draw.choice(target.seeds))
    for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 3, 5, 12))):
        draw.choice(_TEXT_CHANGES if target.words is YAML else _CHANGES)(draw, data, target)
    return bytes(data)


def _flip(draw: random.Random, data: bytearray, target: Target) -> None:
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _cut(draw: random.Random, data: bytearray, target: Target) -> None:
    start = draw.randrange(len(data) + 1)
    del data[start : start + draw.choice((1, 2, 8, 64, len(data)))]


def _repeat(draw: random.Random, data: bytearray, target: Target) -> None:
    start = draw.randrange(len(data) + 1)
    part = data[start : start + draw.choice((1, 4, 16, 64))]
    at = draw.randrange(len(data) + 1)
    data[at:at] = part * draw.choice((1, 2, 50))


def _insert(draw: random.Random, data: bytearray, target: Target) -> None:
    at = draw.randrange(len(data) + 1)
    data[at:at] = draw.choice(target.words)


def _overwrite(draw: random.Random, data: bytearray, target: Target) -> None:
    word, at = draw.choice(target.words), draw.randrange(len(data) + 1)
    data[at : at + len(word)] = word


def _splice(draw: random.Random, data: bytearray, target: Target) -> None:
    other = draw.choice(target.seeds)
    at = draw.randrange(len(other) + 1)
    data[draw.randrange(len(data) + 1) :] = other[at:]


def _reword(draw: random.Random, data: bytearray, target: Target) -> None:
    """Put a word of some valid input, or one of the odd ones, where a word is."""
    places = list(_WORD.finditer(data))
    if places:
        start, end = draw.choice(places).span()
        others = _WORD.findall(draw.choice(target.seeds)) or [b""]
        data[start:end] = draw.choice((draw.choice(others), draw.choice(target.words).strip()))


_WORD = re.compile(rb"[\w.+-]+")
_CHANGES = (_flip, _cut, _repeat, _insert, _overwrite, _splice)
_TEXT_CHANGES = (*_CHANGES, *[_reword] * 6)
