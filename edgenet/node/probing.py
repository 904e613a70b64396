"""A run's probe: all links are measured before any role plays, and judged by every node alike.

Which pair is measured when is known to all of them from the topology. Between two slots they wait
for each other by notes at the rendezvous, one for each pair, so that nobody measures, or begins to
train, while another link of the same medium is measured. The notes hold what was found: each node
makes the same table of them and comes to the same verdict. Every wait has an end. What is at the
rendezvous is not proven: whoever can write there can make a run refuse to train, or not refuse.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from edgenet.errors import LinkTimeout, NodeError, PeerLost, PeerSilent, ProbeError, ProtocolError
from edgenet.links.protocol import Link, LinkGroup
from edgenet.links.rendezvous import Rendezvous
from edgenet.links.shared import Shared
from edgenet.links.trial import Effort, Figures, follow, lead
from edgenet.node.assignment import Assignment, ProbeOrder
from edgenet.shaping.asked import Asked, asked, talks
from edgenet.shaping.turns import Schedule, Turn, arranged, schedule
from edgenet.shaping.verdict import Row, blank, closest, judged, refusal

_ATTEMPTS = 3
_PATIENCE_S = 5.0
_SLOW_HOST = 1.5  # times the budget: no turn begins after it
_CALL_S = 0.5  # how often a waiting node looks whether its turn was given up
_GONE = (PeerLost, PeerSilent, ProtocolError)


def probe(assignment: Assignment, groups: Mapping[str, LinkGroup], shared: Shared) -> None:
    """Measure this node's links when it is their turn, and wait for all others.

    Raises:
        ProbeError: a link is not what was asked, or does not carry anything.
        NodeError: the rendezvous does not answer.
    """
    order = assignment.probe
    if order is None or assignment.again:
        return
    start = time.monotonic()
    with shared.journal.phase("idle", "probe"):
        probing = _Probing(assignment, order, _links(groups))
        rows = probing.run()
    sentence = probing.broken or refusal(rows, order.tolerance)
    if assignment.plan.seat(assignment.name).rank == 0:
        for row in rows:
            shared.journal.event("probe", **row.fields())
        took_s = round(time.monotonic() - start, 3)
        shared.journal.event("probed", refused=sentence, seconds=took_s)
    shared.meter.write(shared.journal)
    if sentence and not order.only:
        raise ProbeError(sentence)


def schedule_of(assignment: Assignment, order: ProbeOrder) -> Schedule:
    """Who is measured when, the same on every node."""
    plan, shaping = assignment.plan, assignment.shaping
    peers = {seat.name: tuple(peer for peer, _ in seat.peers) for seat in plan.seats}
    pairs = [
        (asked(plan.topology, a, b, shaping), asked(plan.topology, b, a, shaping))
        for a, b in talks(peers)
    ]
    return schedule(pairs, order.budget_s)


class _Probing:
    """One node's part in a probe."""

    def __init__(
        self, assignment: Assignment, order: ProbeOrder, links: Mapping[str, Link]
    ) -> None:
        self._name, self._shaping, self._order = assignment.name, assignment.shaping, order
        self._links = links
        self._board = Rendezvous(assignment.store_host, assignment.store_port, assignment.key)
        self._schedule = schedule_of(assignment, order)
        self._start = time.monotonic()
        self.broken = ""
        """Why a link carried nothing, in a sentence."""

    def run(self) -> list[Row]:
        """The whole table. What is off is measured again after all else, while there is time."""
        found: dict[Turn, list[Figures]] = {}
        missing: dict[Turn, str] = {}
        slots = self._schedule.slots
        for attempt in range(_ATTEMPTS):
            for number, slot in enumerate(slots):
                notes = self._measure(f"{attempt}/{number}", slot)
                for turn, note in zip(slot, notes, strict=True):
                    self._read(turn, note, found, missing)
            off = [turn for turn in found if any(row.off for row in self._judged(turn, found))]
            slots = arranged([turn for turn in off if turn not in missing])
        return [*self._rows(found, missing), *self._left_out()]

    def _measure(self, slot_id: str, slot: tuple[Turn, ...]) -> list[dict[str, Any]]:
        """Take this node's turns, and wait for everybody's notes."""
        mine = {i: turn for i, turn in enumerate(slot) if self._name in _ends(turn)}
        with ThreadPoolExecutor(max(1, len(mine)), "probe") as pool:
            for done in [pool.submit(self._take, f"{slot_id}/{i}", mine[i]) for i in mine]:
                done.result()
        return [self._note(f"{slot_id}/{i}", turn) for i, turn in enumerate(slot)]

    def _take(self, turn_id: str, turn: Turn) -> None:
        """This node's part in one turn. What goes wrong with a peer is only noted: whether the
        run can do without it is its scheme's business."""
        leading = turn.there.source == self._name
        peer = turn.there.target if leading else turn.there.source
        link = self._links.get(peer)
        try:
            if link is None:
                self._tell(turn_id, why=f"{peer} has not joined")
            elif not leading:
                self._follow(turn_id, turn, link)
            elif self._late(turn_id):
                self._tell(turn_id, why="the time was up")
            else:
                figures = vars(lead(link, self._effort(turn)))
                self._tell(turn_id, **{key: float(f"{x:.6g}") for key, x in figures.items()})
        except _GONE:
            self._tell(turn_id, why=f"{peer} was lost")
        except LinkTimeout as error:
            self._tell(turn_id, broken=str(error)[:150])

    def _late(self, turn_id: str) -> bool:
        """Whether there is no time left for a turn: on a slow host all of them take longer."""
        again = not turn_id.startswith("0/")
        most_s = self._order.budget_s * (1 if again else _SLOW_HOST)
        return time.monotonic() > self._start + most_s

    def _follow(self, turn_id: str, turn: Turn, link: Link) -> None:
        end = time.monotonic() + self._longest_s(turn)
        while not self._board.noted(f"probe/{turn_id}", timeout_s=0.0):
            try:
                first = link.recv(timeout_s=_CALL_S)
            except LinkTimeout:
                if time.monotonic() > end:
                    raise
                continue
            follow(link, self._effort(turn), first)
            return

    def _effort(self, turn: Turn) -> Effort:
        there, back = turn.streams
        patience_s = _PATIENCE_S + 4 * (turn.there.trip_s + turn.back.trip_s)
        return Effort(pings=turn.pings, there=there, back=back, patience_s=patience_s)

    def _longest_s(self, turn: Turn) -> float:
        return 3 * turn.seconds + 2 * _PATIENCE_S

    def _tell(self, turn_id: str, **found: float | str) -> None:
        self._board.note(f"probe/{turn_id}", json.dumps(found).encode()[:256])

    def _note(self, turn_id: str, turn: Turn) -> dict[str, Any]:
        """What was found in a turn, by whoever took it."""
        raw = self._board.noted(f"probe/{turn_id}", timeout_s=self._longest_s(turn))
        try:
            note: dict[str, Any] = json.loads(raw or b"{}")
        except ValueError:
            raise NodeError(f"{self._name}: the rendezvous holds nonsense: {raw!r}") from None
        return note

    def _read(
        self,
        turn: Turn,
        note: Mapping[str, Any],
        found: dict[Turn, list[Figures]],
        missing: dict[Turn, str],
    ) -> None:
        if "round_trip_s" in note:
            found.setdefault(turn, []).append(Figures(**note))
            return
        missing[turn] = str(note.get("why") or note.get("broken") or "it took too long")
        if "broken" in note:
            self.broken = self.broken or f"{note['broken']} (while its links were measured)"

    def _rows(
        self, found: Mapping[Turn, list[Figures]], missing: Mapping[Turn, str]
    ) -> Iterator[Row]:
        for turn in (turn for slot in self._schedule.slots for turn in slot):
            if turn in found:
                yield from self._judged(turn, found)
            else:
                for way in _ways(turn):
                    yield replace(blank(*way), note=f"not measured: {missing[turn]}")

    def _left_out(self) -> Iterator[Row]:
        why = f"not measured: more links than {self._order.budget_s:g} s are enough for"
        for there, back in self._schedule.left_out:
            for way in ((there, back), (back, there)):
                yield replace(blank(*way), note=why)

    def _judged(self, turn: Turn, found: Mapping[Turn, list[Figures]]) -> list[Row]:
        trips = [each.round_trip_s for each in found[turn]]
        rates = [[each.there_bps for each in found[turn]], [each.back_bps for each in found[turn]]]
        rows = []
        for way, rate in zip(_ways(turn), rates, strict=True):
            row = blank(*way)
            measured = {
                "round_trip_s": closest(way[0].trip_s + way[1].trip_s, trips),
                "goodput_bps": closest(way[0].goodput_bps, rate),
            }
            row = replace(row, measured={**row.measured, **measured})
            rows.append(judged(row, self._shaping, self._order.tolerance))
        return rows


def _ways(turn: Turn) -> tuple[tuple[Asked, Asked], tuple[Asked, Asked]]:
    return (turn.there, turn.back), (turn.back, turn.there)


def _links(groups: Mapping[str, LinkGroup]) -> dict[str, Link]:
    return {link.peer: link for group in groups.values() for link in group}


def _ends(turn: Turn) -> tuple[str, str]:
    return turn.there.source, turn.there.target
