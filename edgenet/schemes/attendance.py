"""Who has answered, and who owes an answer: nobody is waited for twice (`faults.deadline`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from edgenet.links.protocol import LinkGroup


class Attendance:
    """The members of a group of which some may be late.

    Who misses the deadline owes its answer from then on. Until that has come, it is only looked
    whether it is there; so one who stalls costs one deadline, and not one at each step. Where all
    that are asked owe an answer there is nobody else to go on with, and they are waited for.

    Args:
        group: the members.
        deadline_s: how long an answer is waited for; None: as long as its sender is alive.
        clock: seconds since some moment.
    """

    def __init__(
        self, group: LinkGroup, deadline_s: float | None, clock: Callable[[], float]
    ) -> None:
        self.group = group
        self.deadline_s = deadline_s
        self._clock = clock
        self._owing: set[str] = set()
        self._told_later: set[str] = set()

    @property
    def late(self) -> frozenset[str]:
        """Who owes an answer."""
        return frozenset(self._owing)

    @property
    def free(self) -> tuple[str, ...]:
        """The living members that owe none, in file order."""
        return tuple(name for name in self.group.names if name not in self._owing)

    def begin(self) -> set[str]:
        """Begin a round: take in newcomers, whose names it returns, and drop answers that belong to
        earlier rounds. Where all owe one, waits for them up to the deadline."""
        came = set(self.group.admit())
        self._owing -= came
        self._told_later -= came
        patience_s = self.deadline_s if self._owing.issuperset(self.group.names) else 0.0
        answered = set(self.group.gather(self._owing, deadline_s=patience_s))
        self._owing -= answered
        self.group.broadcast(to=self._told_later & answered)
        self._told_later -= answered
        return came

    def gather(self, of: Iterable[str], *, until_s: float | None = None) -> dict[str, Any]:
        """One message from each of the members `of` that is not late, in file order.

        Args:
            of: names.
            until_s: a moment (`limit`) after which nobody is waited for, deadline or not.
        """
        asked = set(of)
        wait_s = self.deadline_s
        if wait_s is not None and until_s is not None:
            wait_s = min(wait_s, max(0.0, until_s - self._clock()))
        prompt = asked - self._owing
        answers = self.group.gather(prompt, deadline_s=wait_s)
        still_s = 0.0 if prompt else wait_s
        answers |= self.group.gather(asked & self._owing, deadline_s=still_s)
        self._owing = (self._owing | prompt) - set(answers)
        return {name: answers[name] for name in self.group.names if name in answers}

    def gather_some(self, of: Iterable[str], *, times: float = math.inf) -> dict[str, Any]:
        """As `gather`, but waits on, so many deadlines, until there is an answer, or none of `of`
        is alive."""
        answers, asked = dict[str, Any](), set(of)
        while not answers and times > 0 and asked & set(self.group.names):
            answers = self.gather(asked)
            times -= 1
        return answers

    def limit(self) -> float | None:
        """The moment that is one deadline from now; None without one."""
        return None if self.deadline_s is None else self._clock() + self.deadline_s

    def dismiss(self, names: Iterable[str]) -> None:
        """Go on without members that are in the middle of a round. An empty message will tell each
        of them, once its next answer has come: before, its link may be busy, and would be waited
        for."""
        self._owing |= set(names)
        self._told_later |= set(names)

    def end(self) -> None:
        """An empty message to everybody: there are no more rounds. Who is in the middle of one is
        told twice, since the first message ends that round."""
        self.group.broadcast(to=self._told_later)
        self.group.broadcast()
