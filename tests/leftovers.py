"""A pytest plugin: the test that leaves a process or a temporary file behind fails.

What it left is then removed. What a fixture of a wider scope holds is looked at when its module
ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest

GRACE_S = 2.0
"""A process that was told to end may take this long; then it counts as left behind."""

MARK = "EDGENET_TEST_SESSION"
"""Environment variable by which even an orphan of an orphan is known as this session's."""

Trace: TypeAlias = "psutil.Process | Path"


class Leftovers:
    """Compares what is there after a test with what was there before its module."""

    def __init__(self) -> None:
        self.session = uuid.uuid4().hex
        self.before: set[Trace] = set()
        self.held: set[Trace] = set()
        self.module: Path | None = None
        self.folder = tempfile.mkdtemp(prefix="et-")
        # Of pytest's own folders the last ones of a failed session stay, at their usual place.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(Path(self.folder).parent))
        os.environ["TMPDIR"] = tempfile.tempdir = self.folder
        os.environ[MARK] = self.session

    def close(self) -> None:
        """Remove the session's own temporary folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Remember what stands before the test, and what its fixtures start."""
        before = self.traces()
        if item.path != self.module:
            self.module, self.before = item.path, before
        result = yield
        self.held |= self.traces() - before
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Fail the test that left something; at the end of a module also its fixtures."""
        result = yield
        if nextitem is None or nextitem.path != item.path:
            self.held.clear()
        told = remove(self.traces() - self.before - self.held)
        if told:
            pytest.fail("left behind by this test:\n  " + "\n  ".join(told), pytrace=False)
        return result

    def traces(self) -> set[Trace]:
        """What runs and what lies about now."""
        return {*self._processes(), *self._files()}

    def _processes(self) -> set[psutil.Process]:
        found = set(psutil.Process().children(recursive=True))
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get(MARK) == self.session:
                    found.add(process)
            except psutil.Error:
                continue
        return {process for process in found if not _resource_tracker(process)}

    def _files(self) -> set[Path]:
        # torch keeps a folder of compiled kernels per user; that is a cache, not litter.
        found = Path(self.folder).iterdir()
        return {path for path in found if not path.name.startswith("torchinductor_")}


def remove(traces: set[Trace]) -> list[str]:
    """End and delete; returns a line for each trace that did not go by itself."""
    processes = [trace for trace in traces if isinstance(trace, psutil.Process)]
    unreaped = [process for process in processes if _unreaped(process)]
    told = [describe(process) for process in unreaped]
    _, alive = psutil.wait_procs(processes, timeout=GRACE_S)
    alive = [process for process in alive if not _over(process)]
    told += [describe(process) for process in alive if process not in unreaped]
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=GRACE_S)
    for path in (trace for trace in traces if isinstance(trace, Path) and trace.exists()):
        told.append(describe(path))
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return told


def describe(trace: Trace) -> str:
    """One line that names the trace."""
    if isinstance(trace, Path):
        return f"file {trace}"
    try:
        return f"process {trace.pid} ({trace.status()}): {' '.join(trace.cmdline())[:200]}"
    except psutil.Error:
        return f"process {trace.pid}"


def _unreaped(process: psutil.Process) -> bool:
    """A child that has ended, and nobody has waited for it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE and process.ppid() == os.getpid()
    except psutil.Error:
        return False


def _over(process: psutil.Process) -> bool:
    """It has ended, and whoever took it over (init, after an orphan's parent was killed) is late
    to take notice. One that a live parent forgot is told of with that parent."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE and process.ppid() != os.getpid()
    except psutil.NoSuchProcess:
        return True


def _resource_tracker(process: psutil.Process) -> bool:
    """multiprocessing keeps one until the interpreter ends, by design."""
    try:
        return any("multiprocessing.resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return False
