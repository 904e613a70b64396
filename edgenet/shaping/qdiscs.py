"""Queues of an interface as the kernel tells them, byte for byte, so that they can be put back.

Read over a netlink socket of our own: pyroute2 decodes options and does not keep what it read. A
queue's options are accepted in the form in which they are told.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from edgenet.shaping import calls
from edgenet.shaping.kernel import Kernel

ROOT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1  # TC_H_ROOT, TC_H_INGRESS
_KIND, _OPTIONS, _STAB = 1, 2, 8  # TCA_*, linux/rtnetlink.h
_NEW, _DELETE, _GET = 36, 37, 38  # RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC
_REQUEST, _ACK, _DUMP, _CREATE, _EXCL = 0x1, 0x4, 0x300, 0x400, 0x200
_ERROR, _DONE = 2, 3  # NLMSG_*
_HEADER, _TC = struct.Struct("=IHHII"), struct.Struct("=BBHiIII")
_SIMPLE = (
    "pfifo", "bfifo", "pfifo_fast", "fq", "fq_codel", "codel", "sfq", "tbf", "cake", "netem",
    "fq_pie", "pie", "red", "noqueue",
)  # fmt: skip
"""Queues without classes: all that there is to them is in their options."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One queue of an interface."""

    kind: str
    """'fq_codel', 'tbf', ..."""
    handle: int
    """Its name; 0: the kernel put it there by itself, and does so again."""
    parent: int
    """ROOT, INGRESS, or a class."""
    options: bytes | None
    """As told."""
    sizes: bytes | None
    """Its size table, as told."""

    @property
    def explicit(self) -> bool:
        """Whether somebody put it at the root."""
        return self.handle != 0 and self.parent == ROOT

    def __str__(self) -> str:
        """'tbf 8001:'."""
        return f"{self.kind} {self.handle >> 16:x}:"


def queues(kernel: Kernel, device: str) -> list[Queue]:
    """All queues of an interface, the root first."""
    index = kernel.index(device)
    request = _TC.pack(0, 0, 0, 0, 0, 0, 0)
    return [queue for found, queue in _asked(kernel, _GET, _REQUEST | _DUMP, request)
            if found == index]  # fmt: skip


def restorable(found: Sequence[Queue], *, ingress: bool) -> str | None:
    """Why an interface's queues could not be put back; None if they could."""
    wrong = [each for each in found if each.handle and each.parent not in (ROOT, INGRESS)]
    wrong += [each for each in found if each.explicit and each.kind not in _SIMPLE]
    if wrong:
        return (
            f"has queues of its own with classes ({wrong[0]}), which could not be put back; remove "
            "them first (tc qdisc del dev ... root), or choose another --interface"
        )
    if ingress and any(each.parent == INGRESS for each in found):
        return "has an ingress queue of its own; remove it first, or leave --ingress out"
    return None


def restore(kernel: Kernel, device: str, queue: Queue) -> None:
    """Put a queue back at the root. Raises OSError: the kernel refuses."""
    message = _TC.pack(0, 0, 0, kernel.index(device), queue.handle, ROOT, 0)
    message += _attribute(_KIND, queue.kind.encode() + b"\0")
    if queue.options is not None:
        message += _attribute(_OPTIONS, queue.options)
    if queue.sizes is not None:
        message += _attribute(_STAB, queue.sizes)
    list(_asked(kernel, _NEW, _REQUEST | _ACK | _CREATE | _EXCL, message))


def delete(kernel: Kernel, device: str, *, ingress: bool = False) -> None:
    """Remove the queue at the root (or at the ingress), if somebody put one there."""
    parent = INGRESS if ingress else ROOT
    message = _TC.pack(0, 0, 0, kernel.index(device), 0, parent, 0)
    with suppress(FileNotFoundError):  # none was there but the kernel's own
        list(_asked(kernel, _DELETE, _REQUEST | _ACK, message))


def _asked(kernel: Kernel, what: int, flags: int, body: bytes) -> Iterator[tuple[int, Queue]]:
    """Send one message; yields (interface, queue) from the answers until the last."""
    with calls.inside(kernel.path):
        line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with line:
        line.settimeout(5.0)
        line.sendall(_HEADER.pack(_HEADER.size + len(body), what, flags, 1, 0) + body)
        while True:
            data = line.recv(1 << 18)
            while data:
                size, kind, _, _, _ = _HEADER.unpack_from(data)
                part, data = data[_HEADER.size : size], data[(size + 3) & ~3 :]
                if kind in (_ERROR, _DONE):
                    number = struct.unpack_from("=i", part)[0] if kind == _ERROR else 0
                    if number:
                        raise OSError(-number, f"the kernel refused a queue (error {-number})")
                    return
                yield _queue(part)


def _queue(part: bytes) -> tuple[int, Queue]:
    _, _, _, index, handle, parent, _ = _TC.unpack_from(part)
    found, rest = {}, part[_TC.size :]
    while len(rest) >= 4:
        size, kind = struct.unpack_from("=HH", rest)
        found[kind & 0x3FFF] = rest[4:size]
        rest = rest[(size + 3) & ~3 :]
    name = found[_KIND].rstrip(b"\0").decode()
    return index, Queue(
        kind=name,
        handle=handle,
        parent=parent,
        options=found.get(_OPTIONS),
        sizes=found.get(_STAB),
    )


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)
