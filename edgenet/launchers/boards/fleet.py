"""The boards of a run, from the order that each is given to the files that each sends back."""

from __future__ import annotations

import base64
import contextlib
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edgenet.errors import DONE
from edgenet.launchers.boards.hosts import Board
from edgenet.launchers.boards.wires import BEAT_S, SILENCE_S, Wire
from edgenet.launchers.policy import Limits
from edgenet.launchers.supervisor import StopSignals
from edgenet.results.rundir import RunDir

_TICK_S = 0.25
_WAITING = 256
_FILE = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}/){0,4}[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_OWN = ("topology.yaml", "events.jsonl")
"""Files of the run's folder that the deployment has itself."""


class Line(Protocol):
    """A board on the line, whatever it is reached by."""

    @property
    def wire(self) -> Wire:
        """What is said."""

    def why(self) -> str:
        """How it ended."""

    def kill(self) -> None:
        """Hang up at once."""


@dataclass(kw_only=True)
class Post:
    """A board and how far it is."""

    board: Board
    line: Line
    essential: bool
    """It carries a node that the run cannot go on without."""
    code: int | None = None
    """What torchrun ended with."""
    lost: str | None = None
    """Why nothing more is to be expected of it."""
    over: bool = False
    """It has sent everything, or is lost."""
    at: float = 0.0
    """When its nodes ended, or it was lost; monotonic."""
    heard: float = field(default_factory=time.monotonic)
    files: set[str] = field(default_factory=set)

    @property
    def failed(self) -> bool:
        """Whether its nodes did not all end well, as far as is known."""
        return self.lost is not None or self.code not in (None, DONE)


class Fleet:
    """Watches the boards of one run, and stops them when it is time.

    Args:
        posts: one for each board.
        run: where their files go.
        stop: what tells that the user wants to stop.
        tell: takes (board's name, line) of what is printed there.
    """

    def __init__(
        self,
        posts: Sequence[Post],
        run: RunDir,
        stop: StopSignals,
        tell: Callable[[str, str], None],
    ) -> None:
        self.posts, self._run, self._stop, self._tell = posts, run, stop, tell
        self._heard: queue.Queue[tuple[Post, dict[str, Any] | None]] = queue.Queue(_WAITING)
        self._limits, self._heeded, self._beaten = Limits(), 0, 0.0
        self.interrupted = False
        self._stopping = False
        self._closed = False

    def watch(self) -> None:
        """Until every board is over. What it takes is bounded by the boards' own limits."""
        threads = [threading.Thread(target=self._listen, args=(post,)) for post in self.posts]
        for thread in threads:
            thread.start()
        try:
            while not all(post.over for post in self.posts):
                with contextlib.suppress(queue.Empty):
                    self._take(*self._heard.get(timeout=_TICK_S))
                self._decide(time.monotonic())
        finally:
            self._closed = True
            for post in self.posts:
                if not post.over:
                    post.line.kill()
            for thread in threads:
                thread.join()

    def _listen(self, post: Post) -> None:
        while not post.line.wire.ended and not self._closed:
            for line in post.line.wire.read_for(_TICK_S):
                self._pass(post, line)
        self._pass(post, None)

    def _pass(self, post: Post, line: dict[str, Any] | None) -> None:
        while not self._closed:
            try:
                return self._heard.put((post, line), timeout=_TICK_S)
            except queue.Full:
                continue

    def _take(self, post: Post, line: dict[str, Any] | None) -> None:
        if post.over:
            return
        post.heard = time.monotonic()
        if line is None:
            self._lose(post, post.line.why())
            return
        try:
            self._obey(post, line)
        except (KeyError, TypeError, ValueError) as error:
            self._lose(post, f"says what makes no sense ({error!r})")
            post.line.kill()

    def _obey(self, post: Post, line: Mapping[str, Any]) -> None:
        kind = line.get("is")
        if kind == "log":
            self._tell(post.board.name, str(line["text"]))
        elif kind == "refused":
            self._lose(post, f"refused: {line['text']}")
        elif kind == "ended":
            post.code, post.at = int(line["code"]), post.heard
        elif kind == "file":
            self._keep(post, str(line["path"]), base64.b64decode(line["data"]))
        elif kind == "gathered":
            post.over = True

    def _lose(self, post: Post, why: str) -> None:
        post.lost, post.over = why, True
        post.at = post.at or time.monotonic()
        self._tell(post.board.name, f"is lost: {why}")

    def _keep(self, post: Post, name: str, data: bytes) -> None:
        """A piece of a file. What a board calls it is believed only if it lies in the folder."""
        if not _FILE.fullmatch(name) or name in _OWN:
            return
        path = self._run.path / name
        if name == "run.json":
            path = about(self._run, post.board.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if name in post.files else "wb") as file:
            file.write(data)
        post.files.add(name)

    def _decide(self, now: float) -> None:
        if now - self._beaten > BEAT_S:
            self._beaten = now
            self._say_all(do="beat")
        if self._stop.count > self._heeded:
            self._heeded = self._stop.count
            self._order_stop(0.0 if self.interrupted else self._limits.term_s)
            self.interrupted = True
        elif not self._stopping and self._must_stop(now):
            self._order_stop(self._limits.term_s)
        for post in self.posts:
            if not post.over and now - post.heard > SILENCE_S:
                self._lose(post, f"nothing was heard of it for {SILENCE_S:.0f} s")
                post.line.kill()

    def _must_stop(self, now: float) -> bool:
        """As `policy.Referee` has it, with boards in the place of nodes."""
        needed = [post for post in self.posts if post.essential]
        failed = [post.at for post in needed if post.failed]
        if failed:
            return now >= min(failed) + self._limits.notice_s
        if all(post.code is not None for post in needed):
            return now >= max(post.at for post in needed) + self._limits.rest_s
        return False

    def _order_stop(self, grace_s: float) -> None:
        self._stopping = True
        self._say(do="stop", grace_s=grace_s)

    def forget(self) -> None:
        """The run is complete: nothing of it has to stay on the boards."""
        self._say_all(do="forget")

    def _say_all(self, **fields: Any) -> None:
        for post in self.posts:
            if post.lost is None:
                post.line.wire.send(**fields)

    def _say(self, **fields: Any) -> None:
        for post in self.posts:
            if post.code is None and not post.over:
                post.line.wire.send(**fields)


def about(run: RunDir, board: str) -> Path:
    """What the board of rank 0 wrote as its run.json."""
    return run.path / "boards" / f"{board}.json"


def log_of(run: RunDir, board: str) -> Path:
    """What was printed on a board."""
    return run.path / "boards" / f"{board}.log"


def lost_nodes(posts: Sequence[Post]) -> Mapping[str, str]:
    """Node -> why, for those of lost boards."""
    return {node: post.lost for post in posts if post.lost for node in post.board.nodes}
