"""When the training of a run began: one mark that all its processes on a host know.

The launcher leaves it in the run's folder once all nodes have joined; what happens at a given time
of a run (`events:` of a topology, fading, traces) counts from it. The clock is time.monotonic,
which all processes of one host share.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_LOOK_S = 0.02


class Start:
    """The mark of one run.

    Args:
        path: the file that holds it; None: a run that never begins (in memory).
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._at: float | None = None
        self._look_next = 0.0

    @classmethod
    def of(cls, run_dir: Path | None) -> Start:
        """The mark of the run in this folder."""
        return cls(None if run_dir is None else run_dir / "started")

    def mark(self, at_s: float = 0.0) -> float:
        """Say that it begins now, or that it is now at `at_s`; returns when (time.monotonic) it
        began, or would have."""
        assert self._path is not None
        self._at = time.monotonic() - at_s
        part = self._path.with_suffix(".part")
        part.write_text(repr(self._at), encoding="ascii")
        os.replace(part, self._path)
        return self._at

    def at(self) -> float | None:
        """When it began (time.monotonic); None before. Looks for the mark now and then."""
        if self._at is None and self._path is not None and time.monotonic() >= self._look_next:
            self._look_next = time.monotonic() + _LOOK_S
            if self._path.exists():
                self._at = float(self._path.read_text(encoding="ascii"))
        return self._at
