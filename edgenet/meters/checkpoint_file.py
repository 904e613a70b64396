"""One checkpoint as a file: its first line, and what torch.save writes into it. No torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import TracebackType
from typing import IO

VERSION = 1
"""Of the files; it rises when an older edgenet could not read them."""
HEADER_BYTES = 128
_MAGIC = "edgenet-checkpoint"


@dataclass(frozen=True)
class Header:
    """What the first line says."""

    digest: str
    """SHA-256 of what follows."""
    length: int
    """Its bytes."""
    seconds: float
    """CPU seconds that making it took the node."""

    def line(self) -> bytes:
        """128 bytes."""
        text = f"{_MAGIC} {VERSION} {self.digest} {self.length} {self.seconds:.4f}"
        return text.ljust(HEADER_BYTES - 1).encode() + b"\n"


def read_header(file: IO[bytes]) -> Header | None:
    """None: no checkpoint of this version."""
    words = file.read(HEADER_BYTES).decode("ascii", "replace").split()
    if words[:2] != [_MAGIC, str(VERSION)] or len(words) != 5:
        return None
    try:
        return Header(words[2], int(words[3]), float(words[4]))
    except ValueError:
        return None


class Sink:
    """A file that torch.save writes into. torch's writer makes an error of its own of the system's;
    leaving the sink raises the latter."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._failed: OSError | None = None

    def __enter__(self) -> None:
        """What is done within is told of as the system tells it."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._failed is not None:
            raise self._failed from None

    def write(self, data: bytes) -> int:
        """Append."""
        try:
            return self._file.write(data)
        except OSError as error:
            self._failed = error
            raise

    def flush(self) -> None:
        """To the system."""
        self._file.flush()


class Hashed(Sink):
    """The file that a checkpoint is written into, hashed on its way."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._digest, self._length = hashlib.sha256(), 0
        file.write(bytes(HEADER_BYTES))

    def write(self, data: bytes) -> int:
        """Append."""
        self._digest.update(data)
        self._length += len(data)
        return super().write(data)

    def finish(self, seconds: float) -> int:
        """Write the first line; returns the bytes of the file."""
        self._file.seek(0)
        self._file.write(Header(self._digest.hexdigest(), self._length, seconds).line())
        return HEADER_BYTES + self._length
