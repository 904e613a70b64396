"""The clock of a run: wall time that never jumps.

A host's wall clock may be set, by NTP or by hand, while a run goes on. So it is read once, when a
run is started; from then on time.monotonic, which all processes of a host share, tells how much
later it is. The launcher leaves the difference of the two in the run's folder, as `clock`, where
every process of the run finds it, however late it starts. Nodes without a launcher on their host
(torchrun, boards) each read the wall clock at their own start.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path


class RunClock:
    """What the journals of one run are dated by.

    Args:
        run_dir: the run's folder; None: a run without one.
    """

    def __init__(self, run_dir: Path | None = None) -> None:
        self.offset_s = time.time() - time.monotonic()
        """Epoch seconds at which time.monotonic was 0."""
        if run_dir is not None:
            with suppress(OSError, ValueError):
                self.offset_s = float((run_dir / "clock").read_text(encoding="ascii"))

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.monotonic() + self.offset_s

    @staticmethod
    def begin(run_dir: Path, after: float = 0.0) -> None:
        """Read the wall clock for the processes that a launcher starts now.

        Args:
            run_dir: the run's folder.
            after: epoch seconds of the last that an earlier attempt wrote down: a clock that was
                set back since may not bring the attempts out of order.
        """
        offset_s = max(time.time(), after) - time.monotonic()
        part = run_dir / "clock.part"
        part.write_text(repr(offset_s), encoding="ascii")
        os.replace(part, run_dir / "clock")
