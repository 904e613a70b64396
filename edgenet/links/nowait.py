"""Socket calls that neither block nor give up the GIL.

One thread beats on all links of a process. Python's own socket calls release the GIL, and each
has to queue for it again behind every other thread that wants it: with 500 busy links one round of
beats took 2.7 s, long enough for peers to take this process for frozen. A call that cannot
block has no reason to let go: the same round takes milliseconds.
"""

from __future__ import annotations

import ctypes
import socket

_LIBC = ctypes.PyDLL(None)
_FLAGS = socket.MSG_DONTWAIT
_BYTES = 4096


def send_now(fd: int, data: bytes) -> int:
    """Send what fits into the socket's buffer; returns how many bytes, -1 for none."""
    return int(_LIBC.send(fd, data, ctypes.c_size_t(len(data)), _FLAGS))


def receive_now(fd: int) -> int:
    """Throw away what has arrived, up to 4096 bytes; returns how many there were, -1 once the other
    end is closed."""
    scratch = ctypes.create_string_buffer(_BYTES)
    got = int(_LIBC.recv(fd, scratch, ctypes.c_size_t(_BYTES), _FLAGS))
    return -1 if got == 0 else max(0, got)
