"""What each link of a drawing was asked to carry, and what the probe or the run itself found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgenet.results.network import Link, Measured, Network, rate, unit_of
from edgenet.results.placing import Line
from edgenet.results.seen import Seen
from edgenet.topology.graph import route

PROBED, SEEN, LEAST = "", "~", "\u2265 "
"""How a rate is known, as the sign in front of it; the best comes first."""
_LEAST_PART = 0.01
"""Of the asked rate: what is less has a unit of its own."""
_ALIKE = 0.1
"""Two directions that differ by less share one line of words."""


@dataclass(frozen=True)
class Figure:
    """Something found about one direction of one hop."""

    bps: float
    sign: str
    """PROBED on this hop alone; SEEN while messages crossed it; LEAST: it carried that much."""
    off: bool = False
    """Not as asked."""


def sign_of(seen: Seen) -> str:
    """SEEN or LEAST."""
    return SEEN if seen.crossing else LEAST


@dataclass(frozen=True)
class Direction:
    """One direction of a line of the drawing."""

    target: str
    """Where it leads; '#<link>' for a switch."""
    asked_bps: float | None
    """None: not recorded."""
    found: tuple[Figure, ...]
    """Of one sign; but for probed ones no more than one."""

    @property
    def off(self) -> bool:
        """Whether the probe found it not as asked."""
        return any(each.off for each in self.found)

    @property
    def sign(self) -> str | None:
        """Of what was found; None: nothing was."""
        return self.found[0].sign if self.found else None


class Rates:
    """Of all links of a run.

    Args:
        links: what was asked.
        measured: the probe's rows; none where no probe ran.
        seen: what the run's own messages tell.
    """

    def __init__(
        self, links: Sequence[Link], measured: Sequence[Measured] = (), seen: Sequence[Seen] = ()
    ) -> None:
        self._network = Network(links)
        self._found: dict[tuple[str, str, str], list[Figure]] = defaultdict(list)
        for row in measured:
            if row.found_bps is not None:
                figure = Figure(row.found_bps, PROBED, bool(row.off))
                self._note(row.source, row.target, figure)
        for each in seen:
            figure = Figure(each.bps, sign_of(each))
            self._note(each.source, each.target, figure)

    def _note(self, source: str, target: str, figure: Figure) -> None:
        hops = route(self._network, source, target) or ()
        if len(hops) > 1:  # each of them may have been faster
            figure = Figure(figure.bps, LEAST)
        for hop in hops:
            self._found[hop.link, hop.source, hop.target].append(figure)

    def of(self, line: Line) -> tuple[Direction, Direction]:
        """Both directions of a line: towards its first end, and towards its second."""
        return self._direction(line, line.b, line.a), self._direction(line, line.a, line.b)

    def _direction(self, line: Line, source: str, target: str) -> Direction:
        link, switch = line.link, line.a.startswith("#")
        ways = [way for way in link.ways if (way.source, way.target) == (source, target)]
        asked = next((way.asked_bps for way in (*ways, *(link.ways if switch else ()))), None)
        froms = link.ends if source.startswith("#") else (source,)
        tos = link.ends if target.startswith("#") else (target,)
        lanes = [(link.name, from_, to) for from_ in froms for to in tos]
        found = [figure for lane in lanes for figure in self._found.get(lane, ())]
        for sign in (PROBED, SEEN, LEAST):
            if known := [figure for figure in found if figure.sign == sign]:
                best = max(known, key=lambda figure: figure.bps)
                return Direction(target, asked, tuple(known) if sign == PROBED else (best,))
        return Direction(target, asked, ())


SEEN_HEAD = ("from", "to", "seen")


def seen_rows(seen: Sequence[Seen]) -> Iterator[tuple[str, ...]]:
    """One row a direction, in the order of SEEN_HEAD."""
    for each in seen:
        yield each.source, each.target, f"{sign_of(each)}{rate(each.bps)}"


def words(directions: Sequence[Direction], signs: Sequence[str] = ()) -> list[str]:
    """'95.1 of 97 Mbit/s' (measured), '~ 91 of 97 Mbit/s' (seen), '97 Mbit/s' (asked only); two of
    them where the directions are not alike.

    Args:
        directions: of one line.
        signs: in front of each direction's words; without them its target stands there.
    """
    if _alike(directions):
        return [said] if (said := _said(directions)) else []
    signs = signs or [f"to {each.target.removeprefix('#')}" for each in directions]
    rows = zip(signs, directions, strict=True)
    return [f"{sign} {said}" for sign, each in rows if (said := _said([each]))]


def _alike(directions: Sequence[Direction]) -> bool:
    """Whether the same words tell of all of them."""
    found = [figure.bps for each in directions for figure in each.found]
    same = len({(rate(each.asked_bps), each.sign, each.off) for each in directions}) == 1
    return same and (not found or max(found) - min(found) <= _ALIKE * max(found))


def _said(directions: Sequence[Direction]) -> str:
    asked = directions[0].asked_bps
    found = [figure.bps for each in directions for figure in each.found]
    if not found:
        return "" if asked is None else rate(asked)
    low, high, sign = min(found), max(found), directions[0].sign
    near = asked is not None and _LEAST_PART * asked <= low
    unit, factor = unit_of(asked if near and asked is not None else low)
    first, last = (f"{bps / factor:.3g}" for bps in (low, high))
    span = f"{first}..{last}" if sign != LEAST and first != last else first
    of = "" if asked is None else f" of {rate(asked)}"
    return f"{sign}{span}{'' if near else f' {unit}'}{of}"
