"""Who looks on while a run goes on: the terminal, a live page, a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from socket import socket
from typing import Any

from edgenet.cli import watch
from edgenet.cli.hook import Hook, Hooked
from edgenet.launchers.local import View
from edgenet.results.live import LiveView
from edgenet.results.rundir import RunDir
from edgenet.topology import Topology


class Audience:
    """The views of one run; a context manager that outlives the run, as a live page does, to show
    how it has ended.

    Args:
        say: takes a line for the user.
        quiet: nothing goes to the terminal.
        listener: for a live page; None: there is none. It is closed at the end.
        hook: is given each round; None: there is none.
    """

    def __init__(
        self, say: Callable[[str], None], *, quiet: bool, listener: socket | None, hook: Hook | None
    ) -> None:
        self._say, self._quiet = say, quiet
        self._listener, self._hook = listener, hook
        self._hooked: Hooked | None = None
        self._pages = ExitStack()

    def __enter__(self) -> Audience:
        if self._listener is not None:
            self._pages.enter_context(self._listener)
        return self

    def __exit__(self, *_: object) -> None:
        self._pages.close()

    @contextmanager
    def show(self, run: RunDir, topology: Topology) -> Iterator[View]:
        """For `Local`: opens the views of a run that begins."""
        with ExitStack() as shown:
            views: list[View] = []
            if self._listener is not None:
                server = self._pages.enter_context(watch.serving(run, self._listener))
                self._say(f"watch: {server.url}")
            if not self._quiet:
                views.append(shown.enter_context(LiveView(run, topology.train.rounds)))
            if self._hook is not None:
                self._hooked = Hooked(run, self._hook, self._say)
                views.append(self._hooked)
            yield _All(views)

    def end(self, summary: Mapping[str, Any]) -> None:
        """The run is over."""
        if self._hooked is not None:
            self._hooked.end(summary)


class _All:
    def __init__(self, views: list[View]) -> None:
        self._views = views

    def update(self) -> None:
        """Every view's."""
        for view in self._views:
            view.update()
