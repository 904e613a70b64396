"""What the nodes' journals tell their launcher: rounds, and who is silent, cut off or frozen.

A node that nobody hears may be frozen, or cut off from the others. From the outside they differ in
one thing: a node that runs writes a line about its resources now and then, whatever else it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from edgenet.launchers.policy import Seat
from edgenet.results.events import Event, Tail
from edgenet.results.rundir import RunDir

_LEAST_STILL_S = 2.5
_STILL_PER_NODE_S = 1 / 8
"""Two and a half times as long as the pause between two such lines (`edgenet.node.run`)."""


class Witness:
    """Follows the journals of a run.

    Args:
        run: its folder.
        seats: the nodes.
        clock: tells how long nothing was written; one that nobody sets.
    """

    def __init__(
        self, run: RunDir, seats: Sequence[Seat], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run, self._tail, self._clock = run, Tail(run), clock
        self._peers: Mapping[str, Sequence[str]] = {seat.name: seat.peers for seat in seats}
        self._still_s = max(_LEAST_STILL_S, len(seats) * _STILL_PER_NODE_S)
        self._wrote: dict[str, float] = {}
        self._accusers: dict[str, set[str]] = {}
        self._ended_for: dict[str, str] = {}
        self._lost: dict[str, str] = {}
        self.joined: dict[str, float] = {}
        """When (epoch seconds) each node had all its links, the last time."""
        self.reported: dict[int, float] = {}
        """When each round was done, the last time."""
        self.round = 1
        """The round that has begun, as far as nodes have reported the ends of others."""

    def skip(self, after: int) -> None:
        """Pass over what an earlier attempt has left; the run goes on after that round."""
        self._tail.skip()
        self.round = after + 1

    def look(self) -> None:
        """Read what is new."""
        for event in self._tail.new():
            self._add(event)

    def accused(self, node: str, runs: Callable[[str], bool]) -> bool:
        """Whether all peers of `node` that run, and at least one, say that it is silent.

        Args:
            node: which one.
            runs: tells whether a node's process is there.
        """
        accusers = self._accusers.get(node, set())
        peers = self._peers[node]
        return bool(accusers) and all(peer in accusers for peer in peers if runs(peer))

    def silent_peer(self, node: str) -> str | None:
        """The peer because of whose silence `node` has ended; None: for another reason."""
        return self._ended_for.get(node)

    def missed(self, first: str, among: Collection[str]) -> str:
        """Which of the nodes `among` was lost, when `first` was the first that was seen to end.

        Who ended because a connection was gone is not to blame, but the peer. Where it was silence,
        the silent one may be frozen, or one of the two cut off: then it is the one that has no link
        left, of several the one with most links, and if there still are two, the silent one.
        """
        seen, node = [first], first
        while (peer := self._lost.get(node, first)) in among and peer not in seen:
            seen.append(peer)
            node = peer
        silent = self._ended_for.get(node)
        if silent is None or silent not in among:
            return node
        accused = ((peer, by) for peer, accusers in self._accusers.items() for by in accusers)
        broken = {frozenset(pair) for pair in (*accused, *self._ended_for.items())}

        def links_gone(name: str) -> tuple[bool, int]:
            gone = sum(frozenset((name, peer)) in broken for peer in self._peers[name])
            return gone == len(self._peers[name]), gone

        return max((silent, *among), key=links_gone)

    def still(self, node: str) -> bool:
        """Whether `node` has written nothing for so long that it must be frozen."""
        return 0 < self.wrote(node) < self._clock() - self._still_s

    def wrote(self, node: str) -> float:
        """When `node` was last seen to have written a line, by the witness's own clock; 0: it has
        not been yet."""
        return self._wrote.get(node, 0.0)

    def _add(self, event: Event) -> None:
        self._wrote[event.node] = self._clock()
        match event.name:
            case "start":
                self._accusers.pop(event.node, None)
                self._ended_for.pop(event.node, None)
                self._lost.pop(event.node, None)
            case "linked":
                self._accusers.get(event.text("peer"), set()).discard(event.node)
            case "round":
                self.round = max(self.round, event.round + 1)
                self.reported[event.round] = event.t
            case "joined":
                self.joined[event.node] = event.t
            case "fault" if event.text("what") == "silent":
                self._accusers.setdefault(event.text("peer"), set()).add(event.node)
            case "end" if event.text("silent"):
                self._ended_for[event.node] = event.text("silent")
            case "end" if event.text("lost"):
                self._lost[event.node] = event.text("lost")
