"""How learners enter `edgenet.schemes.edge_learning`: steps 1 to 3, before the rounds or beside
them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgenet.links.protocol import Item, Kind, LinkGroup
from edgenet.schemes.allocation import Work
from edgenet.schemes.shards import Stock


class Recruits:
    """Makes offers to learners, serves them the shards of their benchmarks, hears their answers.

    What the paper leaves open: a learner that comes while the rounds go on, for the first time or
    again, benchmarks itself beside them, and nobody waits for it.

    Args:
        learners: all of them.
        stock: the data.
        offer: what a learner is told first; None: it is asked nothing.
        allot: {learner: its answer} of those that are new -> what they, and if it has to be others
            too, shall do.
    """

    def __init__(
        self,
        learners: LinkGroup,
        stock: Stock,
        offer: Sequence[Item] | None,
        allot: Callable[[Mapping[str, Any]], dict[str, Work]],
    ) -> None:
        self._learners, self._stock, self._offer, self._allot = learners, stock, offer, allot
        self._served: set[str] = set()
        self.coming: set[str] = set()
        """Who has been made an offer and has not answered."""

    def all(self) -> dict[str, Work]:
        """Make the offer to everybody and wait for all answers; returns who shall do what."""
        self._approach(self._learners.names)
        answers: dict[str, Any] = dict.fromkeys(() if self.coming else self._learners.names)
        while self.coming & set(self._learners.names):
            name, message = self._learners.recv_any()
            self._take(name, message, answers)
        return self._allot({name: answers[name] for name in self._learners.names})

    def admit(self) -> set[str]:
        """Take in who has come since, and make the offer; returns their names."""
        came = self._learners.admit()
        self._approach(came)
        self._new = () if self._offer is not None else came
        return set(came)

    def newcomers(self, patience_s: float) -> dict[str, Work]:
        """Answer those who are coming; returns what is to be done by those of them who are ready.

        Args:
            patience_s: how long to wait for them.
        """
        ready: dict[str, Any] = dict.fromkeys(self._new)
        self.coming &= set(self._learners.names)
        said = self._learners.gather(self.coming, deadline_s=patience_s) if self.coming else {}
        for name, message in said.items():
            self._take(name, message, ready)
        return self._allot(ready) if ready else {}

    def _approach(self, names: Sequence[str]) -> None:
        self._served -= set(names)
        if self._offer is not None:
            self.coming |= set(self._learners.broadcast(*self._offer, to=names))

    def _take(self, name: str, message: Any, answers: dict[str, Any]) -> None:
        """A learner wants the shards of its benchmark, or has measured itself with them."""
        if name in self._served:
            answers[name] = message
            self.coming.discard(name)
        else:
            x, y = self._stock.draw(0, {name: message})[name]
            self._learners.send(name, x, y, kind=Kind.DATA)
            self._served.add(name)
