"""Runs between processes one after the other, all forked from one: torch is imported once.

    python tests/forked_runs.py LAUNCHER_PID

serves run after run as `edgenet.launchers.forkserver` serves one, with the same lines.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgenet.launchers import machinery
from edgenet.launchers.children import die_with_parent
from edgenet.launchers.forkserver import ForkServer
from edgenet.launchers.lines import LineReader, write_line
from edgenet.meters.clock import RunClock
from edgenet.topology import Topology, dump

_LONGEST_S = 90.0


class ForkedRuns:
    """The process that forks the nodes, from the outside; entering starts it, leaving ends it."""

    def __enter__(self) -> ForkedRuns:
        self._errors = tempfile.TemporaryFile()
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._orders = self._server.stdin
        self._reports = LineReader(self._server.stdout.fileno())
        return self

    def __exit__(self, *_: object) -> None:
        with self._server, self._errors:
            self._orders.close()  # the order to stop
            try:
                self._server.wait(10.0)
            except subprocess.TimeoutExpired:
                self._server.kill()  # its nodes follow it

    def run(self, spec: Topology, out: Path) -> None:
        """A process for each node, linked by gloo; results in `out`."""
        out.mkdir()
        RunClock.begin(out)
        file = out.with_suffix(".yaml")
        file.write_text(dump(spec), encoding="utf-8")
        self._order("resolve", path=str(file), overrides=[])
        self._until("ready")
        self._order(
            "start", run_dir=str(out), key=secrets.token_hex(32), shaping="none", ground=None,
            probe=None, resume=0, later=[], seated={}, limits="none", groups={},
        )  # fmt: skip
        self._until("empty")
        self._order("stop", grace_s=1.0)

    def _order(self, what: str, **fields: Any) -> None:
        write_line(self._orders.fileno(), **{"do": what, **fields})

    def _until(self, what: str) -> None:
        """Wait for a line; nodes that end must end well."""
        while (line := self._reports.next(_LONGEST_S)) is not None:
            assert line["is"] != "refused", line["text"]
            assert line["is"] != "ended" or line["code"] == 0, line
            if line["is"] == what:
                return
        self._errors.seek(0)
        raise AssertionError(f"no line '{what}': {self._errors.read().decode()[-2000:]}")


def main() -> None:
    """Serve runs on stdin and stdout until the launcher closes the pipe."""
    die_with_parent(int(sys.argv[1]), signal.SIGKILL)
    orders, reports = LineReader(0), os.dup(1)
    os.dup2(2, 1)
    while not orders.ended:
        ForkServer(machinery, orders, reports).serve()


if __name__ == "__main__":
    main()
