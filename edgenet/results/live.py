"""The live view of a run: a picture on a terminal, one line a round where there is none."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live

from edgenet.results import text
from edgenet.results.events import Event, Tail
from edgenet.results.rundir import RunDir
from edgenet.results.screen import Frame, draw
from edgenet.results.watch import RoundWatch, Watch, changed

_PATIENCE_S = 1.5
"""A round's line waits this long for the round's bytes, which are written a moment after it."""


class LiveView:
    """Shows a run by following its event files; the run does not notice.

    An output that goes away (a closed pipe or terminal) ends the view, not the run.

    Args:
        run_dir: the run; its files may come later.
        total_rounds: how many rounds were asked for.
        console: where to; None = standard output.
        clock: epoch seconds, for tests.
    """

    def __init__(
        self,
        run_dir: Path | str | RunDir,
        total_rounds: int,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._run = run_dir if isinstance(run_dir, RunDir) else RunDir(run_dir)
        self._total = total_rounds
        self._console = Console() if console is None else console
        if isinstance(self._console.file, io.TextIOWrapper):
            # A name or a reason may hold what the output's encoding does not.
            self._console.file.reconfigure(errors="replace")
        self._clock = clock
        self._about: dict[str, Any] = {}
        self._tail = Tail(self._run, launcher=True)
        self._watch = Watch()
        self._shown_rounds = 0
        self._shown_faults = 0
        self._shown_changes = 0
        self._shown_warnings = 0
        self._closed = False
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> LiveView:
        if len(self._run.run().get("attempts") or ()) > 1:
            self._read()  # what earlier attempts did is known, and not told again
            self._shown_rounds, self._shown_faults = (
                len(self._watch.rounds),
                len(self._watch.faults),
            )
            self._shown_changes = len(self._watch.changes)
            self._shown_warnings = len(self._watch.warnings)
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.update(last=True)
        if self._live is not None:
            with suppress(OSError):
                self._live.stop()

    def update(self, *, last: bool = False) -> None:
        """Read what is new and show it; to be called a few times a second.

        Args:
            last: nothing more will come, so nothing is waited for.
        """
        if self._closed or self._console.file.closed:
            return
        try:
            self._read()
            if self._live is None:
                self._print_lines(last)
            else:
                self._live.update(draw(self._watch, self._frame()), refresh=True)
        except OSError:  # the output was closed, or the run's folder was taken away
            self._closed = True

    def _read(self) -> None:
        if not self._about:
            self._about = self._run.run()
            self._watch.expect(self._about.get("nodes") or {})
        for event in self._tail.new():
            self._watch.add(event)
            self._shown_rounds = min(self._shown_rounds, len(self._watch.rounds))
        shown = len(self._watch.rounds) if self._live is not None else self._shown_rounds
        if shown:
            self._watch.forget_bytes(self._watch.rounds[shown - 1].number)

    def _frame(self) -> Frame:
        shaping = self._about.get("shaping")
        used = shaping.get("used") if isinstance(shaping, dict) else shaping
        facts = [str(self._about["scheme"])] if "scheme" in self._about else []
        return Frame(
            title=str(self._about.get("topology", self._run.path.name)),
            facts=(*facts, f"shaping {used}") if used else tuple(facts),
            total_rounds=self._total,
            now=self._clock(),
            width=self._console.width,
            height=self._console.height,
            ascii_only=self._console.options.ascii_only,
        )

    def _print_lines(self, last: bool) -> None:
        """What has happened since the last call, in the order in which it did."""
        lines = []
        for fault in self._watch.faults[self._shown_faults :]:
            lines.append((fault.t, _fault_line(fault)))
        for change in self._watch.changes[self._shown_changes :]:
            lines.append((change.t, f"change  {changed(change)}"))
        for warning in self._watch.warnings[self._shown_warnings :]:
            lines.append((warning.t, f"warning  {warning.node}: {warning.text('text')}"))
        self._shown_faults, self._shown_changes = len(self._watch.faults), len(self._watch.changes)
        self._shown_warnings = len(self._watch.warnings)
        for each in self._watch.rounds[self._shown_rounds :]:
            if not (last or self._whole(each)):
                break
            lines.append((each.t, self._round_line(each)))
            self._shown_rounds += 1
        for _, line in sorted(lines):
            self._console.file.write(line + "\n")
        self._console.file.flush()

    def _whole(self, each: RoundWatch) -> bool:
        """Whether nothing more is to be expected of a round."""
        return self._watch.bytes_known(each) or self._clock() - each.t > _PATIENCE_S

    def _round_line(self, each: RoundWatch) -> str:
        width = len(str(self._total))
        parts = [f"round {each.number:>{width}}/{self._total}"]
        parts.append(f"accuracy {text.number(each.accuracy)}")
        parts.append(f"loss {text.number(each.loss)}")
        parts.append(text.seconds(each.wall_s))
        parts.append(text.amount(self._watch.round_bytes(each.number)))
        if each.active:
            parts.append(f"active {len(each.active)}/{self._watch.peers(each.active)}")
        return "  ".join(parts)


def _fault_line(fault: Event) -> str:
    at = f"round {fault.round}: " if fault.round else ""
    why = f" ({fault.text('why')})" if fault.text("why") else ""
    return f"fault  {at}{fault.text('peer')} {fault.text('what')}{why}, seen by {fault.node}"
