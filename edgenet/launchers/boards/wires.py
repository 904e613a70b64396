"""A conversation with a board: JSON lines over whatever reaches it.

Deployment, over the pipes of ssh or the socket of an agent:

| from | line | meaning |
| --- | --- | --- |
| deployment | `do: run, ...` | start these nodes (`runner.Order` has the fields) |
| deployment | `do: beat` | it is still there; every `BEAT_S` |
| deployment | `do: stop, grace_s` | SIGTERM to the nodes, SIGKILL after the grace |
| deployment | `do: forget` | the run is complete; nothing of it has to stay on the board |
| deployment | `do: tell, run, nodes` | instead of `run`: what is saved there of a run |
| board | `holds: {node: ...}` | that (`meters.checkpoints.Shelf.told`) |
| board | `is: refused, text` | it will not, and why; it ends |
| board | `is: log, text` | a line that torchrun or a node printed |
| board | `is: beat` | it is still there; every `BEAT_S` |
| board | `is: ended, code` | torchrun ended |
| board | `is: file, path, data` | a piece of a file of the run, base64 |
| board | `is: gathered` | that was all; it ends when it was told to forget, or is hung up on |
"""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, Protocol

from edgenet.errors import NodeError
from edgenet.launchers.boards.hosts import Board
from edgenet.launchers.lines import LineReader

BEAT_S = 5.0
SILENCE_S = 30.0
"""A board that has not heard its deployment for so long stops its nodes."""


class Wire(Protocol):
    """Either end of a conversation."""

    @property
    def ended(self) -> bool:
        """Nothing will come any more."""

    def send(self, **fields: Any) -> None:
        """Say one line; any thread may. Where nobody listens any more it is dropped: the end shows
        in `ended`."""

    def read_for(self, timeout_s: float) -> list[dict[str, Any]]:
        """The lines that arrive next; empty at the timeout or the end."""


class BoardError(NodeError):
    """A board is gone, or does not do what it was asked."""


class Talk:
    """A conversation with a board, from the deployment's side.

    Args:
        board: which.
        wire: to it.
        why: how it ended, once it has.
        kill: hangs up at once.
        close: hangs up and waits for the end of what goes on there.
    """

    def __init__(
        self,
        board: Board,
        wire: Wire,
        why: Callable[[], str],
        kill: Callable[[], None],
        close: Callable[[], None],
    ) -> None:
        self.board, self.wire, self.why, self.kill, self.close = board, wire, why, kill, close

    def __enter__(self) -> Talk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def hear(self, key: str, timeout_s: float) -> dict[str, Any]:
        """The next answer that has `key`.

        Raises:
            BoardError: it ended, refused, or did not answer in time.
        """
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0 and not self.wire.ended:
            for line in self.wire.read_for(left):
                if "failed" in line or line.get("is") == "refused":
                    raise BoardError(str(line.get("failed") or line["text"]))
                if key in line:
                    return line
        if self.wire.ended:
            raise BoardError(self.why())
        raise BoardError(f"gave no answer within {timeout_s:.0f} s")


class PipeLines(LineReader):
    """A `Wire` over two pipes. Lines that are no JSON object (a greeting of the board's shell) are
    passed over.

    Args:
        reading: the pipe to read from.
        writing: the one to write to. Both stay owned by the caller.
    """

    def __init__(self, reading: IO[bytes], writing: IO[bytes]) -> None:
        super().__init__(reading.fileno())
        self._writing, self._lock = writing.fileno(), threading.Lock()

    def send(self, **fields: Any) -> None:
        """As in `Wire`. A reader that takes nothing for `SILENCE_S` is as good as gone."""
        data = json.dumps(fields).encode() + b"\n"
        poller = select.poll()
        poller.register(self._writing, select.POLLOUT)
        with self._lock:
            while data and not self.ended:
                if not poller.poll(SILENCE_S * 1000):
                    self.ended = True
                    return
                try:  # so much can be written without waiting, where anything can
                    data = data[os.write(self._writing, data[: select.PIPE_BUF]) :]
                except OSError:
                    return

    def decode(self, line: bytes) -> list[dict[str, Any]]:
        """The object in a line; none in a foreign one."""
        try:
            found = json.loads(line)
        except ValueError:
            return []
        return [found] if isinstance(found, dict) else []
