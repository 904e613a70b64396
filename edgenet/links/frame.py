"""The fixed header in front of every message. Little-endian, 64 bytes:

| bytes | field |
| --- | --- |
| 4 | magic `EDGN` |
| 1 | version of the format |
| 1 | type: 1 message, 2 goodbye |
| 1 | kind (index in `KINDS`) |
| 1 | zero |
| 4 | round in which it was sent |
| 8 | sequence: counts the messages that the sending node encodes, over all its links |
| 8 | total bytes: header, descriptors, padding and data |
| 8 | payload bytes: data of the items alone, for the meters |
| 4 | number of items |
| 4 | bytes of descriptors, which follow the header |
| 4 | crc32 of the descriptors |
| 12 | zero |
| 4 | crc32 of the 60 bytes before it |

Nothing is allocated before a header has passed every check in `Header.parse`.
"""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass

from edgenet.links.protocol import Kind

VERSION = 1
HEADER_BYTES = 64
MAX_ITEMS = 65_536
"""Items in a message, and tensors in a list; a guard against nonsense, far above any model."""
MAX_DESCRIPTOR_BYTES = 4 * 1024 * 1024
DEFAULT_MESSAGE_BYTES = 2 * 1024**3

KINDS = (
    Kind.ACTIVATION,
    Kind.GRADIENT,
    Kind.WEIGHTS,
    Kind.DATA,
    Kind.CONTROL,
    Kind.EVALUATION,
    Kind.PROBE,
)
_CODES = {kind: code for code, kind in enumerate(KINDS)}
_MAGIC = b"EDGN"
_FIELDS = struct.Struct("<4sBBBxIQQQIII12x")
_CHECKSUM = struct.Struct("<I")


class FrameError(Exception):
    """Bytes that are no valid message; the text says what is wrong, as a clause."""


class Type(enum.IntEnum):
    """What a message is for."""

    MESSAGE = 1
    GOODBYE = 2


@dataclass(frozen=True)
class Header:
    """A checked header."""

    type: Type
    kind: Kind
    round: int
    """The sender's round."""
    sequence: int
    """Counts the messages of the sending node, over all its links; for tracing, not for order."""
    total_bytes: int
    """Header, descriptors, padding and data."""
    payload_bytes: int
    """Data of the items alone."""
    items: int
    descriptor_bytes: int
    descriptor_crc: int

    def pack(self) -> bytes:
        """The 64 bytes that travel."""
        fields = _FIELDS.pack(
            _MAGIC,
            VERSION,
            self.type,
            _CODES[self.kind],
            self.round,
            self.sequence,
            self.total_bytes,
            self.payload_bytes,
            self.items,
            self.descriptor_bytes,
            self.descriptor_crc,
        )
        return fields + _CHECKSUM.pack(zlib.crc32(fields))

    @classmethod
    def parse(cls, raw: bytes, *, limit_bytes: int = DEFAULT_MESSAGE_BYTES) -> Header:
        """Check everything that can be checked in the first 64 bytes of a message.

        Raises:
            FrameError: no header, another version, or a size beyond its limit.
        """
        if len(raw) < HEADER_BYTES:
            raise FrameError(f"sent {len(raw)} bytes where a header has {HEADER_BYTES}")
        magic, version, type_, kind, *numbers = _FIELDS.unpack_from(raw)
        if magic != _MAGIC:
            raise FrameError(f"sent bytes that start with {magic!r} instead of {_MAGIC!r}")
        if version != VERSION:
            raise FrameError(f"sent version {version} of the frame format; this is {VERSION}")
        if _CHECKSUM.unpack_from(raw, _FIELDS.size)[0] != zlib.crc32(raw[: _FIELDS.size]):
            raise FrameError("sent a header whose checksum does not fit")
        if type_ not in (Type.MESSAGE, Type.GOODBYE) or kind >= len(KINDS):
            raise FrameError(f"sent a message of type {type_} and kind {kind}, which do not exist")
        header = cls(Type(type_), KINDS[kind], *numbers)
        header._check_sizes(limit_bytes)
        return header

    def _check_sizes(self, limit_bytes: int) -> None:
        if self.total_bytes > limit_bytes:
            raise FrameError(
                f"announced a message of {self.total_bytes} bytes; the limit is {limit_bytes}"
            )
        if self.items > MAX_ITEMS or self.descriptor_bytes > MAX_DESCRIPTOR_BYTES:
            raise FrameError(
                f"announced {self.items} items in {self.descriptor_bytes} bytes of descriptors; "
                f"the limits are {MAX_ITEMS} and {MAX_DESCRIPTOR_BYTES}"
            )
        # The two overlap: numbers and texts are payload that stands among the descriptors.
        if HEADER_BYTES + max(self.descriptor_bytes, self.payload_bytes) > self.total_bytes:
            raise FrameError("announced parts that are larger than the whole")
