"""What a node takes from its host: processor seconds and memory, read from the system.

Linux tells a peak of this process alone (VmHWM) and its fair share of pages that forked nodes have
in common (Pss); elsewhere the peak is getrusage's and the share is not known.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from edgenet.meters.journal import Journal
from edgenet.meters.power import HostMeter

_KIB = 1024


@dataclass(frozen=True, kw_only=True)
class Usage:
    """One reading of this process."""

    cpu_s: float
    """User and system seconds of all threads since the meter was made."""
    rss_bytes: int
    """Resident now: shared pages count in full."""
    peak_rss_bytes: int
    """Most that was resident at once."""
    pss_bytes: int | None = None
    """Resident, each page divided by the processes that share it; None where not asked or not
    known."""


class ResourceMeter:
    """Reads this process. Its CPU seconds start at zero where the meter is made, so that a node is
    not charged for the imports of the program that it runs in."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._cpu_start_s = time.process_time()

    def read(self, *, shared: bool = False) -> Usage:
        """One reading; with `shared` also the proportional share, which walks every page and takes
        milliseconds."""
        rss_bytes = int(self._process.memory_info().rss)
        return Usage(
            cpu_s=time.process_time() - self._cpu_start_s,
            rss_bytes=rss_bytes,
            peak_rss_bytes=max(peak_rss_bytes(), rss_bytes),
            pss_bytes=pss_bytes() if shared else None,
        )

    def sample(
        self, journal: Journal, *, shared: bool = False, more: Mapping[str, int] | None = None
    ) -> Usage:
        """Read, and append a `resources` event; `more` joins it (peak_weight_bytes, ...)."""
        usage = self.read(shared=shared)
        share = {} if usage.pss_bytes is None else {"pss_bytes": usage.pss_bytes}
        journal.event(
            "resources",
            cpu_s=round(usage.cpu_s, 6),
            rss_bytes=usage.rss_bytes,
            peak_rss_bytes=usage.peak_rss_bytes,
            **share,
            **(more or {}),
        )
        return usage


class Sampler:
    """A thread that samples about once a second while the `with` block runs, and once at its end.

    Args:
        journal: where the `resources` and `doing` events go.
        interval_s: seconds between two samples.
        more: asked at each sample for further fields (peak_weight_bytes, peak_stash_bytes).
        beside: called at each sample, for whoever else has something to say once a second (the
            links' `traffic`).
        power: the host's sensor, where there is one; makes an `energy` event at each sample.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        interval_s: float = 1.0,
        more: Callable[[], Mapping[str, int]] = dict,
        beside: Callable[[], None] = lambda: None,
        power: HostMeter | None = None,
    ) -> None:
        self._journal, self._interval_s = journal, interval_s
        self._power = power
        self._more, self._beside = more, beside
        self._meter = ResourceMeter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resources", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._sample(shared=True)

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            self._sample()
            self._journal.doing()

    def _sample(self, *, shared: bool = False) -> None:
        self._beside()
        usage = self._meter.sample(self._journal, shared=shared, more=self._more())
        if self._power is not None:
            joules = round(self._power.joules(usage.cpu_s), 6)
            self._journal.event("energy", sensor=self._power.name, joules=joules)


def peak_rss_bytes() -> int:
    """Most memory that this process had resident at once.

    VmHWM where there is one: getrusage's peak survives an exec, so a small child of a large parent
    would inherit the parent's.
    """
    kib = _proc_kib("/proc/self/status", "VmHWM:")
    if kib is not None:
        return kib * _KIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB


def pss_bytes(pid: int | None = None) -> int | None:
    """Proportional set size of this process or of `pid`; None where the system does not tell."""
    kib = _proc_kib(f"/proc/{pid or 'self'}/smaps_rollup", "Pss:")
    return None if kib is None else kib * _KIB


def _proc_kib(path: str, key: str) -> int | None:
    """The number behind `key` in a file of procfs; None if the file or the key is not there."""
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return None
