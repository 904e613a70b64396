"""Strict YAML: text -> a tree of entries, each of which knows its line.

Less than YAML on purpose, so that a file can only mean what it seems to mean: one document, no
anchors or aliases (no bombs), no tags, no duplicate keys, bounded size and depth. A bare `no` or
`on` is text, not a truth value; `1e-3` is a number; `010` is ten.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from edgenet.errors import TopologyError

MAX_BYTES = 1_000_000
MAX_DEPTH = 12
MAX_ENTRIES = 50_000
MAX_TEXT = 4096
"""Characters of one value; the longest that makes sense is the path of a file."""
_SHOWN = 100

Value: TypeAlias = "bool | int | float | str | list[Entry] | dict[str, Entry] | None"


@dataclass
class Entry:
    """One value of the document."""

    value: Value
    where: str
    """'file:line', or '--set key=value' if it was given on the command line; starts messages."""
    line: int | None = None
    """Line of its key (or of the value itself in a list); None for a --set."""

    def plain(self) -> object:
        """The value without the marks: scalars, lists and dictionaries."""
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        return self.value


_WORDS: dict[str, Value] = {
    "": None, "~": None, "null": None, "true": True, "false": False,
    ".nan": math.nan, ".inf": math.inf, "-.inf": -math.inf,
}  # fmt: skip
_WHOLE = re.compile(r"[+-]?\d{1,30}")
_REAL = re.compile(r"[+-]?(\d{1,30}\.\d{0,30}|\.\d{1,30}|\d{1,30}(?=[eE]))([eE][+-]?\d{1,3})?")


def scalar(text: str) -> Value:
    """What an unquoted word means: nothing, a truth value, a number, or itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text):
        return float(text)
    return text


def parse(text: str, file: str) -> Entry:
    """The tree of a YAML document.

    Raises:
        TopologyError: not YAML, or one of the things that are refused here.
    """
    return _Builder(file, "").read(text)


def parse_override(text: str, where: str) -> Entry:
    """The tree of the value of a --set; `where` starts every message about it."""
    return Entry(None, where) if scalar(text) is None else _Builder(where, where).read(text)


class _Builder:
    """Builds the tree from YAML events, without recursion."""

    def __init__(self, file: str, origin: str) -> None:
        self._file, self._origin = file, origin
        self._root: Entry | None = None
        self._open: list[Entry] = []
        self._keys: list[tuple[str, int] | None] = []
        self._count = 0

    def read(self, text: str) -> Entry:
        if len(text) > MAX_BYTES:
            raise TopologyError(f"{self._file}: larger than 1 MB; a topology is a few kB")
        try:
            for event in self._events(text):
                self._take(event)
        except yaml.YAMLError as error:
            raise self._not_yaml(error) from None
        if self._root is None or self._root.value is None:
            raise TopologyError(f"{self._file}: the file is empty; it needs nodes, links and train")
        return self._root

    def _events(self, text: str) -> Iterator[yaml.Event]:
        documents = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise self._refuse(event, "starts a second document; a topology is one")
            yield event

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, (yaml.AliasEvent, yaml.NodeEvent)):
            self._refuse_reuse(event)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._start(event, {})
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start(event, [])
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._keys.pop()

    def _refuse_reuse(self, event: yaml.NodeEvent) -> None:
        if isinstance(event, yaml.AliasEvent):
            what = f"uses an alias (*{brief(event.anchor or '')}); write the value out"
            raise self._refuse(event, what)
        if event.anchor is not None:
            what = f"uses an anchor (&{brief(event.anchor)}); write the value out"
            raise self._refuse(event, what)
        if (tag := getattr(event, "tag", None)) is not None:
            raise self._refuse(event, f"uses a tag ({brief(tag)}); only plain values are allowed")
        self._count += 1
        if self._count > MAX_ENTRIES:
            raise self._refuse(event, f"has more than {MAX_ENTRIES} values")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if len(event.value) > MAX_TEXT:
            what = f"has a value of {len(event.value)} characters; at most {MAX_TEXT} make sense"
            raise self._refuse(event, what)
        if not event.value.isprintable():
            odd = next(each for each in event.value if not each.isprintable())
            raise self._refuse(event, f"has the character {odd!a} in a value; values are one line")
        if self._open and isinstance(self._open[-1].value, dict) and self._keys[-1] is None:
            self._key(event)
        else:
            self._add(event, scalar(event.value) if event.implicit[0] else event.value)

    def _key(self, event: yaml.ScalarEvent) -> None:
        mapping, line = self._open[-1].value, _line(event)
        assert isinstance(mapping, dict)
        if event.value in mapping:
            first = "" if self._origin else f" of line {mapping[event.value].line}"
            raise self._refuse(event, f"repeats the key '{brief(event.value)}'{first}")
        self._keys[-1] = (event.value, line)

    def _start(self, event: yaml.Event, value: Value) -> None:
        if self._open and isinstance(self._open[-1].value, dict) and self._keys[-1] is None:
            raise self._refuse(event, "uses a list or mapping as a key; keys are names")
        if len(self._open) >= MAX_DEPTH:
            raise self._refuse(event, f"is nested deeper than {MAX_DEPTH} levels")
        self._open.append(self._add(event, value))
        self._keys.append(None)

    def _add(self, event: yaml.Event, value: Value) -> Entry:
        parent = self._open[-1] if self._open else None
        line = _line(event)
        if parent is not None and isinstance(parent.value, dict):
            key = self._keys[-1]
            assert key is not None
            entry = self._entry(value, key[1])
            parent.value[key[0]] = entry
            self._keys[-1] = None
            return entry
        entry = self._entry(value, line)
        if parent is None:
            self._root = entry
        elif isinstance(parent.value, list):
            parent.value.append(entry)
        return entry

    def _entry(self, value: Value, line: int) -> Entry:
        if self._origin:
            return Entry(value, self._origin)
        return Entry(value, f"{self._file}:{line}", line)

    def _refuse(self, event: yaml.Event, what: str) -> TopologyError:
        where = self._origin or f"{self._file}:{_line(event)}"
        return TopologyError(f"{where}: {what}")

    def _not_yaml(self, error: yaml.YAMLError) -> TopologyError:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        hint = "; indent with spaces, not tabs" if "\\t" in str(what) else ""
        line = f":{mark.line + 1}" if mark is not None and not self._origin else ""
        return TopologyError(f"{self._file}{line}: not valid YAML: {what}{hint}")


def brief(text: str) -> str:
    """What stands in a message for a text that may be anything: one line, and not a long one."""
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text[:_SHOWN])
    return line if len(text) <= _SHOWN else f"{line}..."


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1
