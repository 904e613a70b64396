"""A node's checkpoints as files, and which round all nodes of a run can go on from. No torch.

    nodes/<name>/checkpoints/<round>.ckpt     the node as it was when it had done this round
    nodes/<name>/checkpoints/rounds           every round that it began, one a line
    checkpoints                               of the run: the rounds that all save, newest last

A file is a line of 128 bytes (magic, version, SHA-256 of the rest, its length, CPU seconds that it
took) and what torch.save made. It gets its name when all of it is on the disk; one that was torn or
altered since is found by its digest, and never loaded.

A round is common if every node has a sound checkpoint of the last round that it began up to it. A
node that took no part in some rounds is as it was after its last one, so it may hold an older one;
one that the run can do without, and that was not in the round at all, may hold none that fits.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edgenet.meters.checkpoint_file import HEADER_BYTES, Hashed, read_header

KEPT = 3
"""So many of a node's checkpoints stay."""
_NAME = re.compile(r"([0-9]{1,9})\.ckpt")
_CHUNK = 1 << 20


class Shelf:
    """The checkpoints of one node.

    Args:
        run_dir: the run's folder.
        node: whose.
    """

    def __init__(self, run_dir: Path, node: str) -> None:
        self.folder = run_dir / "nodes" / node / "checkpoints"
        self._log = self.folder / "rounds"

    def path(self, number: int) -> Path:
        """The file of a round."""
        return self.folder / f"{number}.ckpt"

    def rounds(self) -> list[int]:
        """Of which rounds there are files, sound or not; newest first."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(entry.name) for entry in os.scandir(self.folder))
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def begun(self) -> list[int]:
        """The rounds that the node began, in order."""
        if not self._log.is_file():
            return []
        lines = self._log.read_text(encoding="ascii", errors="replace").split("\n")[:-1]
        return [int(line) for line in lines if line.isdecimal()]

    def begin(self, number: int) -> None:
        """Write down that a round begins: what is saved of those before it is outdated."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="ascii") as file:
            file.write(f"{number}\n")

    def last(self, number: int) -> int:
        """The last round up to `number` that the node began; 0 if none."""
        # What a host without power has lost of the log does not make its files outdated.
        known = (*self.begun(), *self.rounds())
        return max((each for each in known if each <= number), default=0)

    def wrong(self, number: int) -> str | None:
        """What is wrong with the file of a round, for a sentence; None if it is sound."""
        try:
            with self.path(number).open("rb") as file:
                header = read_header(file)
                if header is None:
                    return "is no checkpoint of this version"
                digest, length = hashlib.sha256(), 0
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    length += len(chunk)
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        if length != header.length:
            return f"is torn ({length} of {header.length} bytes)"
        return None if digest.hexdigest() == header.digest else "was altered (its digest differs)"

    def fits(self, number: int) -> bool:
        """Whether the node can go on after a round."""
        last = self.last(number)
        return last == 0 or self.wrong(last) is None

    def content(self, number: int) -> bytes:
        """What torch.save made, of a file that is sound."""
        return self.path(number).read_bytes()[HEADER_BYTES:]

    def seconds(self, number: int) -> float:
        """CPU seconds that the checkpoint of a round took; 0 where there is none."""
        try:
            with self.path(number).open("rb") as file:
                header = read_header(file)
        except OSError:
            return 0.0
        return 0.0 if header is None else header.seconds

    def write(self, number: int, fill: Callable[[Hashed], float]) -> int:
        """Write the checkpoint of a round, whole or not at all, and drop what is too old; returns
        its bytes.

        Args:
            number: the round.
            fill: writes it; returns the CPU seconds that it took.

        Raises:
            OSError: there is no room, or the disk fails.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._log.is_file():
            _settle(self._log)  # which tells others' checkpoints that this one is needed
        part = self.folder / f"{number}.part"
        try:
            with part.open("wb") as file:
                hashed = Hashed(file)
                with hashed:
                    seconds = fill(hashed)
                size = hashed.finish(seconds)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path(number))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _settle(self.folder)  # the name, too
        for old in self.rounds()[KEPT:]:
            self.path(old).unlink(missing_ok=True)
        return size

    def told(self) -> dict[str, object]:
        """What is here, for whoever is elsewhere (`Told`): {begun: rounds, files: {round: what is
        wrong with it, or null}}."""
        files = {str(number): self.wrong(number) for number in self.rounds()}
        return {"begun": self.begun(), "files": files}

    def forget(self, after: int) -> None:
        """Take back the rounds after `after`: they are computed again."""
        for number in self.rounds():
            if number > after:
                self.path(number).unlink(missing_ok=True)
        for torn in self.folder.glob("*.part"):  # of a node that was killed over it
            torn.unlink(missing_ok=True)
        kept = [each for each in self.begun() if each <= after]
        if self._log.is_file():
            part = self._log.with_suffix(".part")
            part.write_text("".join(f"{each}\n" for each in kept), encoding="ascii")
            _settle(part)
            os.replace(part, self._log)


def _settle(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before anything else is done."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Told:
    """A shelf on another host, by what that says of it.

    Args:
        where: names it, for sentences.
        fields: of `Shelf.told`.

    Raises:
        ValueError: they are none.
    """

    def __init__(self, where: str, fields: Mapping[str, Any]) -> None:
        self._where = where
        try:
            self._begun = [int(number) for number in fields["begun"]]
            self._files = {int(number): wrong for number, wrong in fields["files"].items()}
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{where}: tells nothing of checkpoints ({error!r})") from None

    def path(self, number: int) -> str:
        """As a shelf's."""
        return f"{self._where}: {number}.ckpt"

    def rounds(self) -> list[int]:
        """As a shelf's."""
        return sorted(self._files, reverse=True)

    def last(self, number: int) -> int:
        """As a shelf's."""
        return max((each for each in (*self._begun, *self._files) if each <= number), default=0)

    def wrong(self, number: int) -> str | None:
        """As a shelf's."""
        wrong = self._files[number]
        return None if wrong is None else str(wrong)


class Seated(Protocol):
    """What has to be known of a node."""

    @property
    def name(self) -> str:
        """The node."""

    @property
    def essential(self) -> bool:
        """The run cannot go on without it."""


@dataclass
class Common:
    """What a run can go on from."""

    round: int
    """The newest round that is common; 0: there is none."""
    passed_over: list[str] = field(default_factory=list)
    """A sentence for every newer file that is not sound."""


def common_round(run_dir: Path, seats: Iterable[Seated]) -> Common:
    """The newest round of the run in `run_dir` that all of `seats` can go on from.

    Give it to the nodes as `Job.resume` (`Assignment.resume`): each loads what it holds of that
    round, and the first round is the one after it.
    """
    return common_of({seat: Shelf(run_dir, seat.name) for seat in seats})


def common_of(shelves: Mapping[Seated, Shelf | Told]) -> Common:
    """The same, of shelves wherever they are."""
    found = Common(0)
    known: dict[tuple[Shelf | Told, int], bool] = {}

    def sound(shelf: Shelf | Told, number: int) -> bool:
        if (shelf, number) not in known:
            there = number in shelf.rounds()
            wrong = shelf.wrong(number) if there else None
            if wrong is not None:
                found.passed_over.append(f"{shelf.path(number)} {wrong}; it is passed over")
            known[shelf, number] = there and wrong is None
        return known[shelf, number]

    def fits(seat: Seated, shelf: Shelf | Told, number: int) -> bool:
        last = shelf.last(number)
        return last == 0 or sound(shelf, last) or (not seat.essential and last < number)

    candidates = {number for shelf in shelves.values() for number in shelf.rounds()}
    for number in sorted(candidates, reverse=True):
        reached = any(shelf.last(number) == number for shelf in shelves.values())
        if reached and all(fits(seat, shelf, number) for seat, shelf in shelves.items()):
            found.round = number
            break
    return found


class Notice:
    """The run's file `checkpoints`: the rounds after which all nodes save, as one of them says."""

    _SHOWN = 8

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "checkpoints"

    def rounds(self) -> list[int]:
        """The latest, oldest first."""
        try:
            return [int(word) for word in self._path.read_text(encoding="ascii").split()]
        except (OSError, ValueError):
            return []

    def clear(self) -> None:
        """The nodes start again."""
        self._path.unlink(missing_ok=True)

    def announce(self, number: int) -> None:
        """One more."""
        rounds = [*(each for each in self.rounds() if each < number), number][-self._SHOWN :]
        part = self._path.with_suffix(".part")
        part.write_text(" ".join(map(str, rounds)), encoding="ascii")
        os.replace(part, self._path)
