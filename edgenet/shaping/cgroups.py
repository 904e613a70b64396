"""Control groups: the kernel holds a process to the memory and the cores of an emulated device.

Version 2 (one tree) or version 1 (a tree for each controller), whichever has the memory controller
here. What is charged to a group is what its process touches first or writes: pages that a forked
node shares with its fork server are nobody's. There is no swap for a group.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MOUNTS, OWN = Path("/proc/self/mounts"), Path("/proc/self/cgroup")
_PERIOD_US = 100_000
_GONE_S = 1.0  # until a group of a process that has just ended can be removed


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a group may use."""

    memory_bytes: int | None
    """None: as much as there is."""
    cores: int | None
    """Cores' worth of CPU time; None: as much as there is."""


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Where groups can be made: the folder for each controller (of version 2 the same)."""

    version: int
    memory: Path
    cpu: Path | None
    """None: there is no controller for CPU time."""


def find(mounts: Path = MOUNTS, own: Path = OWN) -> Trees | str:
    """The trees of this machine, or why groups cannot be made."""
    if os.geteuid() != 0:
        return "control groups need root"
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
        mine = dict(line.split(":", 2)[1:] for line in own.read_text().splitlines())
    except (OSError, ValueError):
        return "this system has no control groups"
    for _, folder, kind, *_ in lines:
        root = Path(folder)
        if kind == "cgroup2" and "memory" in _words(root / "cgroup.controllers"):
            return _version_2(root)
    found = {
        name: _below(Path(folder), mine.get(options_named, "/"))
        for _, folder, kind, options, *_ in lines
        if kind == "cgroup"
        for options_named in mine
        for name in ("memory", "cpu")
        if name in options.split(",") and name in options_named.split(",")
    }
    if "memory" not in found:
        return "no control groups for memory are mounted here"
    if not os.access(found["memory"], os.W_OK):
        return f"{found['memory']} cannot be written"
    return Trees(version=1, memory=found["memory"], cpu=found.get("cpu"))


def _version_2(root: Path) -> Trees | str:
    wanted = [name for name in ("memory", "cpu") if name in _words(root / "cgroup.controllers")]
    try:
        missing = [name for name in wanted if name not in _words(root / "cgroup.subtree_control")]
        if missing:
            _write(root / "cgroup.subtree_control", " ".join(f"+{name}" for name in missing))
    except OSError as error:
        return f"{root} hands no controllers on ({error.strerror})"
    return Trees(version=2, memory=root, cpu=root if "cpu" in wanted else None)


def _below(mount: Path, path: str) -> Path:
    """This process's own group, so that its limits stay in force; in a container the mount shows
    another part of the tree."""
    own = mount / path.lstrip("/")
    return own if own.is_dir() else mount


@dataclass(frozen=True, kw_only=True)
class Group:
    """A control group that stands."""

    version: int
    memory: str
    """Its folder."""
    cpu: str | None
    """Its folder in the other tree (version 2: the same); None: cores are not limited."""
    allowance: Allowance

    @property
    def folders(self) -> tuple[Path, ...]:
        """All its folders."""
        return tuple(dict.fromkeys(Path(f) for f in (self.memory, self.cpu) if f is not None))

    def make(self) -> None:
        """Make the folders and set the limits. Raises OSError."""
        for folder in self.folders:
            folder.mkdir(exist_ok=True)
        limit, cores = self.allowance.memory_bytes, self.allowance.cores
        memory, cpu = Path(self.memory), None if self.cpu is None else Path(self.cpu)
        if limit is not None and self.version == 2:
            _write(memory / "memory.max", str(limit))
            _write_if_there(memory / "memory.swap.max", "0")
        elif limit is not None:
            _write(memory / "memory.limit_in_bytes", str(limit))
            _write_if_there(memory / "memory.memsw.limit_in_bytes", str(limit))
            _write_if_there(memory / "memory.swappiness", "0")
        if cores is not None and cpu is not None:
            quota = str(cores * _PERIOD_US)
            if self.version == 2:
                _write(cpu / "cpu.max", f"{quota} {_PERIOD_US}")
            else:
                _write(cpu / "cpu.cfs_period_us", str(_PERIOD_US))
                _write(cpu / "cpu.cfs_quota_us", quota)

    def join(self) -> None:
        """Put this process into it. Raises OSError."""
        for folder in self.folders:
            _write(folder / "cgroup.procs", "0")

    def kills(self) -> int:
        """How many processes the kernel ended in it for want of memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return _figure(Path(self.memory) / name, "oom_kill") or 0

    def peak_bytes(self) -> int | None:
        """The most that it held; None where the kernel does not tell."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        words = _words(Path(self.memory) / name)
        return int(words[0]) if words else None

    def remove(self) -> bool:
        """Remove it; False if it is gone already. Raises OSError: processes are in it."""
        removed = [remove(folder) for folder in self.folders]
        return any(removed)

    def fields(self) -> dict[str, Any]:
        """For JSON; `group(fields)` is the way back."""
        return asdict(self)


def group(fields: Mapping[str, Any]) -> Group:
    """What `Group.fields` told."""
    return Group(**{**fields, "allowance": Allowance(**fields["allowance"])})


def planned(trees: Trees, name: str, allowance: Allowance) -> Group:
    """A group, not made yet."""
    cpu = None if trees.cpu is None or allowance.cores is None else str(trees.cpu / name)
    return Group(
        version=trees.version, memory=str(trees.memory / name), cpu=cpu, allowance=allowance
    )


def remove(folder: Path) -> bool:
    """Remove one folder of a group; False if it is gone already. A group whose process has just
    ended is busy for a moment.

    Raises:
        OSError: processes are in it.
    """
    deadline = time.monotonic() + _GONE_S
    while True:
        try:
            folder.rmdir()
            return True
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def resident_bytes() -> int:
    """What this process has resident now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _figure(path: Path, name: str) -> int | None:
    """The number behind `name` in a file of lines 'name number'."""
    return next((int(value) for key, value in _pairs(path) if key == name), None)


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            yield key, value


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _write_if_there(path: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        path.write_text(text)
