"""Giving gloo a connection of ours in place of one that it made itself.

gloo listens on a port of its own, believes whoever connects there and names a small number, and
ends the process when such a stranger sends nonsense, or when accepting fails because strangers
have used up the file descriptors. It cannot be told to take a connection that is there already.
But it lives with one that it finds under its descriptor:

- its listening socket is closed, and something that never becomes ready is put under its descriptor
  number and registered with gloo's epoll in its place (`seal`), so that nobody ever reaches it;
- each pair is made to connect to a socket of this very process, a moment later (`Decoy`);
- when it stands, and before anything was sent on it, the connection of ours is put under the same
  descriptor number and registered with gloo's epoll just as gloo's was (`Decoy.adopt`).

No right is needed for any of this, but it takes Linux: the epoll's entries are read from /proc.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

POSSIBLE = sys.platform.startswith("linux")
"""Elsewhere gloo makes its connections itself, and its port is open to whoever reaches it."""

GLOO_ADDRESS = "127.0.0.2"
"""Where gloo listens. It dials whoever has a smaller address than its own."""
_DECOY_ADDRESS = "127.0.0.1"

_LIBC = ctypes.CDLL(None, use_errno=True)
_C = ctypes.PyDLL(None)
"""The same for calls that are over before another thread could have used the interpreter."""
_SOCKADDR = struct.Struct("!2sH4s8x")
_SOCKADDR_BYTES = _SOCKADDR.size
_ADD, _DELETE = 1, 2
_ENTRY = re.compile(r"tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)\s+data:\s*([0-9a-f]+)")


class _Event(ctypes.Structure):
    """struct epoll_event, which x86-64 packs and others do not."""

    if os.uname().machine == "x86_64":
        _pack_ = 1
        _layout_ = "ms"
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


def seal() -> int:
    """Close the listening socket of the gloo device that this process has just made. What gloo
    waits on for callers then, and in the end takes off its epoll and closes, is an event that never
    comes. Returns the device's epoll.

    Raises:
        OSError: there is no such socket, or the kernel refuses.
    """
    silent = os.eventfd(0)
    try:
        for epoll in _epolls():
            for entry in _entries(epoll):
                if _listens_for_gloo(entry.fd):
                    _replace(epoll, entry, silent)
                    return epoll
    finally:
        os.close(silent)
    raise OSError(f"gloo does not listen on {GLOO_ADDRESS}")


class _Entry(NamedTuple):
    """What an epoll has of a descriptor."""

    fd: int
    events: int
    data: int


def _replace(epoll: int, entry: _Entry, by: int) -> None:
    """Put the file of descriptor `by` under the number of `entry`, also in the epoll."""
    _control(epoll, _DELETE, entry.fd, None)
    os.dup2(by, entry.fd, inheritable=False)
    _control(epoll, _ADD, entry.fd, _Event(entry.events, entry.data))


class Decoy:
    """Where one pair of gloo's is made to connect to. Use it as a context manager."""

    def __init__(self) -> None:
        self._sock = socket.create_server((_DECOY_ADDRESS, 0))
        self._address = self._sock.getsockname()

    def __enter__(self) -> Decoy:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def address(self, own: bytes) -> bytes:
        """What a pair is to be told of its peer, from what it told of itself: the same, but for
        the socket address."""
        at = own.find(socket.inet_aton(GLOO_ADDRESS)) - 2
        if at < 0:
            raise ConnectionError("gloo speaks of addresses in a way that is not known here")
        there = struct.pack("!H", self._address[1]) + socket.inet_aton(_DECOY_ADDRESS)
        return own[:at] + there + own[at + len(there) :]

    def adopt(self, sock: socket.socket, epoll: int) -> None:
        """Put `sock` (connected, silent) under the pair that has connected here, whose device's
        epoll is given; closes `sock`.

        Raises:
            ConnectionError, OSError: the pair was not found; `sock` is left open.
        """
        entry = next((each for each in _entries(epoll) if self._is_called_by(each.fd)), None)
        if entry is None:
            raise ConnectionError("gloo's own connection was not found")
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _replace(epoll, entry, sock.fileno())
        sock.close()

    def _is_called_by(self, fd: int) -> bool:
        return bool(_address(_C.getpeername, fd) == self._address)


def _listens_for_gloo(fd: int) -> bool:
    found = _address(_C.getsockname, fd)
    if found is None or found[0] != GLOO_ADDRESS:
        return False
    sock = socket.socket(fileno=fd)
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0
    finally:
        sock.detach()


def _address(call: Any, fd: int) -> tuple[str, int] | None:
    """What `call` (getsockname, getpeername) says of a descriptor; None: it is no IPv4 socket.

    Not by socket.socket(fileno=...), which asks the kernel four things more: a server does this for
    every link that it has each time that it takes one.
    """
    place, length = (ctypes.c_uint8 * _SOCKADDR_BYTES)(), ctypes.c_uint32(_SOCKADDR_BYTES)
    if call(fd, place, ctypes.byref(length)) != 0 or length.value != _SOCKADDR_BYTES:
        return None
    family, port, host = _SOCKADDR.unpack(bytes(place))
    if family != socket.AF_INET.to_bytes(2, sys.byteorder):
        return None
    return socket.inet_ntoa(host), port


def _epolls() -> Iterator[int]:
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # of those that other threads have closed since
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventpoll]":
                yield int(name)


def _entries(epoll: int) -> Iterator[_Entry]:
    with suppress(OSError), open(f"/proc/self/fdinfo/{epoll}", encoding="ascii") as file:
        for fd, events, data in _ENTRY.findall(file.read()):
            yield _Entry(int(fd), int(events, 16), int(data, 16))


def _control(epoll: int, operation: int, fd: int, event: _Event | None) -> None:
    reference = None if event is None else ctypes.byref(event)
    if _LIBC.epoll_ctl(epoll, operation, fd, reference) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"epoll_ctl: {os.strerror(error)}")
