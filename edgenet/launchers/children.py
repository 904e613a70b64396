"""Node processes of one fork server: forked, named, signalled and reaped by their ids."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edgenet.errors import NODE_FAILED

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """A node's process that has ended and was waited for."""

    node: str
    pid: int
    code: int | None
    """Exit code; None when a signal ended it."""
    signal: int | None
    """The signal that ended it, or None."""


class Children:
    """The living node processes. Must be used from one thread: the kernel ties the parent-death
    signal of a child to the thread that forked it."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def __len__(self) -> int:
        """How many have not been reaped yet."""
        return len(self._names)

    def fork(
        self, node: str, log: Path | None, close: Iterable[int], body: Callable[[], int]
    ) -> int:
        """Start `body` in a child whose output goes to `log`; returns its process id.

        Args:
            node: the node's name.
            log: file that takes its stdout and stderr, its folder is made; None: the parent's own.
            close: the parent's file descriptors that are none of the child's business.
            body: what the child does; it exits with the result.

        Raises:
            OSError: the system has no room for another process.
        """
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
        parent = os.getpid()
        # A signal between the fork and the reset of its handler would run the parent's handler.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                _run_child(parent, log, close, body)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        self._names[pid] = node
        return pid

    def signal(self, number: signal.Signals, only: str | None = None) -> None:
        """Send a signal to every living child, or `only` to the one of this name."""
        for pid, name in self._names.items():
            if only not in (None, name):
                continue
            # It may have ended; as it was not reaped, its id cannot belong to anyone else.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def reap(self) -> list[Reaped]:
        """Take leave of the children that have ended, without waiting for the others."""
        reaped = []
        for pid, node in list(self._names.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._names[pid]
                reaped.append(_reaped(node, pid, os.waitstatus_to_exitcode(status)))
        return reaped


def _reaped(node: str, pid: int, status: int) -> Reaped:
    code, number = (status, None) if status >= 0 else (None, -status)
    return Reaped(node=node, pid=pid, code=code, signal=number)


def _run_child(
    parent: int, log: Path | None, close: Iterable[int], body: Callable[[], int]
) -> None:
    """What a child does from the fork to its end; does not return."""
    code = NODE_FAILED
    try:
        die_with_parent(parent, signal.SIGKILL)
        _redirect(log, close)
        _forget_signals()
        code = body()
    except BaseException:  # the border of the process: below it nobody would report
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(log: Path | None, close: Iterable[int]) -> None:
    _open_as(0, os.devnull, os.O_RDONLY)
    if log is not None:
        _open_as(1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(1, 2)
    for fd in close:
        if fd > 2:
            os.close(fd)


def _open_as(fd: int, path: str, flags: int) -> None:
    opened = os.open(path, flags, 0o644)
    os.dup2(opened, fd)
    os.close(opened)


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Ask the kernel to send `number` to this process when its parent ends (Linux only; elsewhere
    the parent's pipe is the only tie). Ends this process if the parent is gone already."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(NODE_FAILED)
