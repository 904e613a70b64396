"""System calls that Python (before 3.12) does not offer: namespaces, mounts, prctl. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_MS_BIND, _MS_REC, _MS_SHARED, _MNT_DETACH = 4096, 16384, 1 << 20, 2  # linux/mount.h
_PR_SET_PDEATHSIG, _PR_SET_TIMERSLACK = 1, 29  # linux/prctl.h
HERE = Path("/proc/thread-self/ns/net")
"""The namespace that the calling thread is in."""

FOLDER = Path("/run/netns")
"""Where `ip netns` looks for namespaces."""


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def path_of(namespace: str) -> Path:
    """Where a namespace is kept."""
    return FOLDER / namespace


def create(namespace: str) -> None:
    """Make a network namespace that stands until `remove`. The calling thread stays where it is.

    Raises:
        OSError: no right to, or it is there already.
    """
    _share_folder()
    path = path_of(namespace)
    path.touch(mode=0o444, exist_ok=False)
    with scratch():
        _mount(str(HERE), path, _MS_BIND)


def remove(namespace: str) -> bool:
    """Let go of a namespace: it is gone once no process is in it. False: none was there."""
    path = path_of(namespace)
    _libc().umount2(os.fsencode(path), _MNT_DETACH)  # fails where SIGKILL came before the mount
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def enter(path: Path) -> None:
    """Move the calling thread, and what it starts from now on, into a namespace."""
    with path.open("rb") as namespace:
        _check(_libc().setns(namespace.fileno(), _CLONE_NEWNET), str(path))


@contextlib.contextmanager
def inside(path: Path) -> Iterator[None]:
    """For the calling thread only: be in a namespace, then back where it was. To be `HERE` takes no
    right to enter namespaces, which containers do not have."""
    if path == HERE:
        yield
        return
    with _returning():
        enter(path)
        yield


@contextlib.contextmanager
def scratch() -> Iterator[None]:
    """For the calling thread only: be in a new namespace without a name, gone on return."""
    with _returning():
        _check(_libc().unshare(_CLONE_NEWNET), "a new network namespace")
        yield


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the thread that started this process ends."""
    _check(_libc().prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "PR_SET_PDEATHSIG")


def wake_exactly() -> None:
    """Have this thread's timers end when asked, and not up to 50 us later with others' timers."""
    _check(_libc().prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0), "PR_SET_TIMERSLACK")


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    with HERE.open("rb") as home:
        try:
            yield
        finally:
            _check(_libc().setns(home.fileno(), _CLONE_NEWNET), "the namespace before")


def _share_folder() -> None:
    """As `ip netns add` does: other mount namespaces shall see namespaces come and go."""
    if not FOLDER.is_dir():
        FOLDER.mkdir(parents=True, exist_ok=True)
    if _libc().mount(b"", os.fsencode(FOLDER), b"none", _MS_SHARED | _MS_REC, None) != 0:
        _mount(str(FOLDER), FOLDER, _MS_BIND | _MS_REC)
        _mount("", FOLDER, _MS_SHARED | _MS_REC)


def _mount(source: str, target: Path, flags: int) -> None:
    call = _libc().mount
    _check(call(source.encode(), os.fsencode(target), b"none", flags, None), f"mount {target}")
