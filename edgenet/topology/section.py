"""Reading one mapping of the document: every access checks, every mistake is one sentence."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator

from edgenet.errors import TopologyError
from edgenet.topology.document import Entry


def choose(given: str, noun: str, choices: Iterable[str], listed: str = "") -> str:
    """'did you mean 'x'? <noun> are a, b, c': the end of a message about an unknown name.

    Args:
        given: what the file says.
        noun: what the choices are, in the plural.
        choices: the valid names.
        listed: how to print them, if not one by one.
    """
    names = list(choices)
    close = difflib.get_close_matches(given, names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}{noun} are {listed or ', '.join(names)}"


def show(value: object) -> str:
    """A value as it goes into a message: short, and quoted if it is text."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    words = {"None": "empty", "True": "true", "False": "false"}
    text = repr(value)
    text = words.get(text, text)
    return text if len(text) <= 60 else text[:57] + "..."


class Section:
    """A mapping of the document, and what messages call it."""

    def __init__(self, entry: Entry, label: str) -> None:
        """Args:
            entry: where it stands.
            label: its name in messages: "link 'cell'", "train".

        Raises:
            TopologyError: it is no mapping, or an empty one.
        """
        if not isinstance(entry.value, dict):
            raise TopologyError(
                f"{entry.where}: {label} is {show(entry.value)}; it must be a mapping (key: value)"
            )
        self.entry, self.label = entry, label
        self.entries: dict[str, Entry] = entry.value

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def fail(self, what: str, key: str = "") -> TopologyError:
        """An error at `key` (or at the section): 'file:line: <label> <what>'."""
        entry = self.entries.get(key, self.entry)
        return TopologyError(f"{entry.where}: {self.label} {what}")

    def only(self, *known: str) -> None:
        """Refuses every key that is not among `known`."""
        for key in self.entries:
            if key not in known:
                raise self.fail(f"has unknown key '{key}'; {choose(key, 'keys', known)}", key)

    def get(self, key: str) -> Entry | None:
        """The entry of `key`; None if the file does not mention it. An empty one is refused."""
        entry = self.entries.get(key)
        if entry is not None and entry.value is None:
            raise self.fail(f"has an empty '{key}'; write a value or leave the line out", key)
        return entry

    def text(self, key: str, default: str = "", choices: tuple[str, ...] = ()) -> str:
        """The text of `key`, one of `choices` if they are given."""
        entry = self.get(key)
        if entry is None:
            return default
        if not isinstance(entry.value, str):
            raise self.fail(f"has {key} {show(entry.value)}; it must be a name", key)
        if choices and entry.value not in choices:
            raise self.fail(f"has unknown {key} '{entry.value}'; "
                            f"{choose(entry.value, 'choices', choices)}", key)  # fmt: skip
        return entry.value

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        """The whole number of `key`, between `least` and `most`."""
        entry = self.get(key)
        if entry is None:
            return default
        return self.as_whole(entry, key, least, most)

    def as_whole(self, entry: Entry, key: str, least: int, most: int) -> int:
        """`entry`, which stands under `key`, as a whole number."""
        value = entry.value
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fail(f"has {key} {show(value)}; it must be a whole number", key)
        if not least <= value <= most:
            raise self.fail(f"has {key} {value}; it must lie between {least} and {most}", key)
        return value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        """The number of `key`, between `least` and `most`."""
        entry = self.get(key)
        if entry is None:
            return default
        return self.as_number(entry, key, least, most)

    def as_number(self, entry: Entry, key: str, least: float, most: float) -> float:
        """`entry`, which stands under `key`, as a finite number."""
        value = entry.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.fail(f"has {key} {show(value)}; it must be a number", key)
        if not math.isfinite(value):
            raise self.fail(f"has {key} {value}; it must be a finite number", key)
        if not least <= value <= most:
            raise self.fail(f"has {key} {value}; it must lie between {least:g} and {most:g}", key)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """The truth value of `key`."""
        entry = self.get(key)
        if entry is None:
            return default
        if not isinstance(entry.value, bool):
            raise self.fail(f"has {key} {show(entry.value)}; it must be true or false", key)
        return entry.value

    def quantity(self, key: str, parse: Callable[[object], float]) -> float | None:
        """The quantity of `key` in SI units; None if the file does not mention it."""
        entry = self.get(key)
        if entry is None:
            return None
        return self.as_quantity(entry, key, parse)

    def as_quantity(self, entry: Entry, key: str, parse: Callable[[object], float]) -> float:
        """`entry`, which stands under `key`, in SI units."""
        if isinstance(entry.value, (list, dict)):
            raise self.fail(f"has {key} {show(entry.value)}; it must be one quantity", key)
        try:
            return parse(entry.value)
        except ValueError as error:
            raise self.fail(f"has a bad {key}: {error}", key) from None

    def items(self, key: str) -> list[Entry]:
        """The entries of a list, or a single value as a list of one; [] if it is not mentioned."""
        entry = self.get(key)
        if entry is None:
            return []
        found = entry.value if isinstance(entry.value, list) else [entry]
        if not found:
            raise self.fail(f"has an empty list '{key}'; write a value or leave the line out", key)
        return found

    def names(self, key: str) -> list[str]:
        """A name or a list of names."""
        found = []
        for item in self.items(key):
            if not isinstance(item.value, str):
                raise self.fail(f"has {show(item.value)} in '{key}'; it must be a name", key)
            found.append(item.value)
        return found

    def section(self, key: str, label: str) -> Section | None:
        """The mapping of `key`; None if the file does not mention it."""
        entry = self.get(key)
        return None if entry is None else Section(entry, label)
