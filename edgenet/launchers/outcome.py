"""How a run ended, and what is written down of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edgenet.errors import DONE, INTERRUPTED, NODE_FAILED, CannotWrite, NodeError
from edgenet.launchers.blame import failure
from edgenet.launchers.policy import Referee
from edgenet.launchers.record import Record
from edgenet.results.rundir import RunDir
from edgenet.results.write import write_all


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    run: RunDir
    """Everything that it left behind."""
    summary: dict[str, Any]
    """The object of summary.json."""
    exit_code: int
    """What the command ends with."""
    error: str | None
    """The sentence it ends with, or None when all went well."""


@contextmanager
def told_of(run: RunDir, referee: Referee, error: str | None) -> Iterator[None]:
    """Where the body finds no room for results, the sentence of the run's end is not lost.

    Args:
        run: its folder.
        referee: knows how its nodes ended.
        error: what ended it, if not a node.

    Raises:
        NodeError: in the place of OSError.
    """
    try:
        yield
    except OSError as full:
        ended = error or failure(run, referee)
        if ended is None:
            raise CannotWrite(run.path, full.strerror) from full
        raise NodeError(f"{ended}; nor is there room for the results") from full


def finish(run: RunDir, record: Record, referee: Referee, error: str | None) -> Outcome:
    """Write down how a run ended, and its results.

    Args:
        run: its folder.
        record: of run.json.
        referee: knows how its nodes ended.
        error: what ended it, if not a node.

    Raises:
        OSError: there is no room for them.
    """
    code = NODE_FAILED if error else referee.exit_code
    error = error or failure(run, referee)
    if code == DONE:
        error = None
    elif code == INTERRUPTED:
        error = f"interrupted; what was computed is in {run.path}"
    record.finish(code, error, referee.ends)
    return Outcome(run=run, summary=write_all(run.path), exit_code=code, error=error)
