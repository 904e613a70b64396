"""`--set a.b=c`: changes a field of the document before anything is checked.

A key that the file lacks is added, and then judged like any other (so a misspelt one is refused
with a message that starts with the --set); nodes and links themselves can only be changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgenet.errors import TopologyError
from edgenet.topology.document import MAX_DEPTH, Entry, brief, parse_override
from edgenet.topology.section import choose, show

SECTIONS = ("name", "devices", "nodes", "links", "train", "faults", "probe", "events", "place",
            "shaping", "limits", "seed", "carbon")  # fmt: skip
"""Keys of a topology file."""

_SHORTHANDS = {"train.data": "name", "train.optimizer": "name", "train.partition": "kind"}
"""Where a bare name stands for a mapping with one key."""

_RIVALS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("train", ("rounds", "epochs")),
    ("train.partition", ("iid", "shards", "dirichlet", "sizes", "kind")),
    ("links.*", ("ethernet", "wifi", "lte", "trace")),
)
"""Keys of which one replaces the other: --set train.rounds=5 wins over `epochs:` in the file."""


def apply(root: Entry, overrides: Sequence[str]) -> None:
    """Changes `root` in place, in the order of `overrides`.

    Raises:
        TopologyError: one that is not 'path=value', or whose path leads nowhere.
    """
    for override in overrides:
        _apply_one(root, override)


def _apply_one(root: Entry, override: str) -> None:
    where = f"--set {brief(override)}"
    if not override.isprintable():
        raise TopologyError(f"{where}: has a character that no key and no value has")
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".", MAX_DEPTH)]
    if len(keys) > MAX_DEPTH:
        raise TopologyError(f"{where}: is nested deeper than {MAX_DEPTH} levels")
    if not equals or not all(keys):
        raise TopologyError(
            f"{where}: is not of the form path.to.key=value, like train.scheme=fedavg"
        )
    if keys[0] not in SECTIONS:
        hint = choose(keys[0], "sections", SECTIONS)
        raise TopologyError(f"{where}: there is no section '{keys[0]}'; {hint}")
    if not text.strip():
        raise TopologyError(
            f"{where}: has no value; write path.to.key=value, or path.to.key=null to remove it"
        )
    parent = _parent(root, keys, where)
    assert isinstance(parent.value, dict)
    _drop_rivals(parent.value, ".".join(keys[:-1]), keys[-1])
    value = parse_override(text.strip(), where)
    if value.value is None:
        parent.value.pop(keys[-1], None)
    else:
        parent.value[keys[-1]] = value


def _parent(root: Entry, keys: list[str], where: str) -> Entry:
    """The mapping that holds the last of `keys`, made where it may be missing."""
    entry = root
    for depth, key in enumerate(keys):
        path = ".".join(keys[:depth])
        entry = _as_mapping(entry, path, keys, where)
        assert isinstance(entry.value, dict)
        named = path in ("nodes", "links")
        if named and key not in entry.value:
            hint = choose(key, path, entry.value)
            raise TopologyError(f"{where}: there is no {path[:-1]} '{key}' to change; {hint}")
        if depth == len(keys) - 1:
            return entry
        entry = entry.value.setdefault(key, Entry({}, where))
    return entry


def _as_mapping(entry: Entry, path: str, keys: list[str], where: str) -> Entry:
    if isinstance(entry.value, str) and path in _SHORTHANDS:
        entry.value = {_SHORTHANDS[path]: Entry(entry.value, entry.where, entry.line)}
    if not isinstance(entry.value, dict):
        raise TopologyError(
            f"{where}: '{path or 'the file'}' is {show(entry.value)}, so it has no key "
            f"'{keys[-1]}'; set '{path}' itself"
        )
    return entry


def _drop_rivals(parent: dict[str, Entry], path: str, key: str) -> None:
    pattern = "links.*" if path.startswith("links.") and path.count(".") == 1 else path
    for at, rivals in _RIVALS:
        if at == pattern and key in rivals:
            for rival in rivals:
                if rival != key:
                    parent.pop(rival, None)
