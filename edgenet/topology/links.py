"""The `links:` section: wires between two nodes, and media with many members."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgenet.topology.document import Entry
from edgenet.topology.nodes import NAME, Names, shorten
from edgenet.topology.section import Section, show
from edgenet.topology.spec import LinkSpec
from edgenet.topology.traces import read_profile
from edgenet.units import (
    parse_bytes,
    parse_fraction,
    parse_frequency,
    parse_power,
    parse_rate,
    parse_time,
)

Parser = Callable[[object], float]


def _loss(value: object) -> float:
    loss = parse_fraction(value)
    if loss >= 1:
        raise ValueError(f"{value!r} loses everything; a loss lies below 100 %")
    return loss


CHANNEL: Mapping[str, tuple[str, Parser]] = {
    "rate": ("rate_bps", parse_rate),
    "delay": ("delay_s", parse_time),
    "jitter": ("jitter_s", parse_time),
    "loss": ("loss", _loss),
    "queue": ("queue_bytes", parse_bytes),
}
"""Key in the file -> field of Channel and its parser."""

LTE: Mapping[str, tuple[str, Parser | None]] = {
    "bandwidth": ("bandwidth_hz", parse_frequency),
    "resource_blocks": ("resource_blocks", None),
    "up_power": ("up_power_w", parse_power),
    "down_power": ("down_power_w", parse_power),
    "interference": ("interference_w", parse_power),
    "exponent": ("exponent", None),
    "cap": ("cap", None),
    "ergodic": ("ergodic", None),
    "fading": ("fading_s", None),
}
"""Key in the file -> option of the `lte` profile and its parser (None: a plain value)."""

PROFILES = ("ethernet", "wifi", "lte", "trace")
_SHARED_BY_NATURE = ("wifi", "lte")
_COMMON = ("between", "base", "members", "shared", "up", "down")


def read_links(entry: Entry, names: Names, folder: Path) -> tuple[LinkSpec, ...]:
    """The links of the section in file order; `folder` is where their traces are looked for."""
    section = Section(entry, "the links section")
    if not section.entries:
        raise section.fail("is empty; describe a link or leave the section out")
    links: list[LinkSpec] = []
    for name in section:
        link = _link(Section(section.entries[name], f"link '{name}'"), name, names, folder)
        _not_twice(link, links, section)
        links.append(link)
    return tuple(links)


def _link(section: Section, name: str, names: Names, folder: Path) -> LinkSpec:
    if not NAME.fullmatch(name):
        raise section.fail(
            "has a bad name; a name is a letter and then up to 39 letters, digits, '-' or '_'"
        )
    section.only(*_COMMON, *PROFILES, *CHANNEL)
    profile, options = _profile(section, folder)
    ends, base = _between(section, names) if "between" in section else _medium(section, names)
    if base is None and "between" not in section and ("up" in section or "down" in section):
        raise section.fail("is a switch (it has no base), which has no up and down")
    if profile == "trace" and base is None and "between" not in section:
        raise section.fail("is a switch (it has no base), which has no up and down", "trace")
    shared = section.flag("shared", profile in _SHARED_BY_NATURE)
    return LinkSpec(
        name=name, profile=profile, options=options, ends=ends, base=base, shared=shared
    )


def _between(section: Section, names: Names) -> tuple[tuple[str, ...], None]:
    if "base" in section or "members" in section:
        raise section.fail(
            "has both 'between' (a wire) and 'base' or 'members' (a medium); choose one", "between"
        )
    written = section.names("between")
    if len(written) == 2 and written[0] == written[1]:
        raise section.fail(f"joins '{written[0]}' to itself", "between")
    ends = names.expand(section, "between")
    if len(written) != 2 or len(ends) != 2:
        raise section.fail(
            f"joins {shorten(ends)}; 'between' takes two single nodes, "
            "'base' and 'members' take a group",
            "between",
        )
    return ends, None


def _medium(section: Section, names: Names) -> tuple[tuple[str, ...], str | None]:
    if "members" not in section:
        raise section.fail("joins nothing; it needs 'between: [a, b]', or 'members' and a 'base'")
    members = names.expand(section, "members")
    base = names.one(section, "base") if "base" in section else None
    if base in members:
        raise section.fail(f"has its base '{base}' among its members", "members")
    if base is None and len(members) < 2:
        raise section.fail(
            "has one member and no base; a switch needs at least two members", "members"
        )
    return members, base


def _profile(section: Section, folder: Path) -> tuple[str, dict[str, Any]]:
    """The family of the link, and its options in SI units."""
    found = [profile for profile in PROFILES if profile in section]
    if len(found) > 1:
        raise section.fail(f"is both {found[0]} and {found[1]}; choose one", found[1])
    profile = found[0] if found else "raw"
    options: dict[str, Any] = _channel(section)
    for way in ("up", "down"):
        direction = section.section(way, f"{section.label}: {way}")
        if direction is not None:
            direction.only(*CHANNEL)
            options[way] = _channel(direction)
    if profile == "ethernet":
        options["value"] = section.quantity("ethernet", parse_rate)
    elif profile == "wifi":
        options["value"] = section.text("wifi")
    elif profile == "lte":
        options |= _lte(section)
    elif profile == "trace":
        options["trace"] = read_profile(section, folder)
    _one_rate(section, options)
    return profile, options


def _one_rate(section: Section, options: Mapping[str, Any]) -> None:
    """Refuses a fixed rate where the rate follows something."""
    followed = tuple(options.get("trace", ("up", "down") if "fading_s" in options else ()))
    for way in followed:
        if "rate_bps" in {**options, **options.get(way, {})}:
            what = "a trace" if "trace" in options else "fading"
            raise section.fail(
                f"has a rate, and {what} that its rate {way} follows; keep one", "rate"
            )


def _channel(section: Section) -> dict[str, Any]:
    """Those fields of a Channel that the section mentions."""
    found: dict[str, Any] = {}
    for key, (field, parse) in CHANNEL.items():
        value = section.quantity(key, parse)
        if value is not None:
            found[field] = value
    return found


def _lte(section: Section) -> dict[str, Any]:
    entry = section.get("lte")
    assert entry is not None
    if not isinstance(entry.value, dict):
        raise section.fail(
            f"has lte {show(entry.value)}; write lte: {{bandwidth: 20 MHz, resource_blocks: 100}}",
            "lte",
        )
    lte = Section(entry, f"{section.label}: lte")
    lte.only(*LTE)
    options: dict[str, Any] = {}
    for key, (field, parse) in LTE.items():
        if key not in lte:
            continue
        if parse is not None:
            options[field] = lte.quantity(key, parse)
        elif key == "ergodic":
            options[field] = lte.flag(key, False)
        elif key == "fading":
            options[field] = _fading(lte)
        elif key == "resource_blocks":
            options[field] = lte.whole(key, 100, 1, 10_000)
        else:
            options[field] = lte.number(key, 0.0, 0.1, 100.0)
    return options


def _fading(lte: Section) -> float:
    """Seconds between two draws: 'fading: 100 ms' or 'fading: {interval: 100 ms}'."""
    entry = lte.get("fading")
    assert entry is not None
    section, key = lte, "fading"
    if isinstance(entry.value, dict):
        section, key = Section(entry, f"{lte.label}: fading"), "interval"
        section.only(key)
    interval_s = section.quantity(key, parse_time)
    if interval_s is None:
        raise section.fail("needs an interval, like fading: {interval: 100 ms}")
    if not 0.02 <= interval_s <= 3600:
        raise section.fail("has an interval that is not between 20 ms and 1 h", key)
    return interval_s


def _not_twice(link: LinkSpec, links: list[LinkSpec], section: Section) -> None:
    for other in links:
        if other.base == link.base and set(other.ends) == set(link.ends):
            raise section.fail(
                f"joins the same nodes twice, by '{other.name}' and by '{link.name}'; drop one",
                link.name,
            )
