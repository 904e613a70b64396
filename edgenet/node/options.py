"""A scheme's own keys under `train:`, checked against its dataclass of options."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from edgenet.errors import TopologyError
from edgenet.schemes import SCHEMES, Scheme
from edgenet.topology.spec import Topology, Train

TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a word"),
    tuple: ((str, list), "a name or a list of names"),
    Mapping: ((dict,), "a mapping of names to whole numbers"),
}
"""What a field of a scheme's options may be: its type -> the types in a file, and their name."""


def scheme_options(topology: Topology, scheme: Scheme) -> Any:
    """An instance of `scheme.options` filled from the topology; None where there are none.

    Raises:
        TopologyError: an unknown key, a value of the wrong type, or one the scheme refuses.
    """
    hints = get_type_hints(scheme.options) if scheme.options else {}
    values = {}
    for key, value in topology.train.options.items():
        where = topology.where(f"train.{key}")
        if key not in hints:
            raise TopologyError(f"{where}: {_unknown(key, scheme, tuple(hints))}")
        values[key] = _typed(where, key, value, hints[key])
    if scheme.options is None:
        return None
    try:
        return scheme.options(**values)
    except ValueError as error:
        raise at_key(topology, error) from None


def at_key(topology: Topology, error: ValueError) -> TopologyError:
    """What a scheme refuses, with its place: by convention the sentence starts with the key."""
    key = str(error).partition(" ")[0]
    return TopologyError(f"{topology.where(f'train.{key}')}: train.{error}")


def without_foreign(topology: Topology, scheme: Scheme) -> Topology:
    """The topology without keys, and places of roles, that belong to other schemes only.

    A file describes a network and one scheme; whoever runs another scheme on it by `--set
    train.scheme=...` must not have to remove the keys of the first. Where the file itself names
    the scheme, a key of another one is a mistake, and stays to be refused.
    """
    train = topology.train
    if "train.scheme" not in topology.settings:
        return topology
    own = {field.name for field in dataclasses.fields(scheme.options)} if scheme.options else set()
    foreign = {
        field.name
        for other in SCHEMES.values()
        if other.options is not None
        for field in dataclasses.fields(other.options)
    } - own
    set_here = {path for path in topology.settings if path != "train.scheme"}
    kept = {
        key: value
        for key, value in train.options.items()
        if key not in foreign or f"train.{key}" in set_here
    }
    roles = {role.name for role in scheme.roles}
    place = {
        role: nodes
        for role, nodes in topology.place.items()
        if role in roles or f"place.{role}" in set_here
    }
    return dataclasses.replace(
        topology, train=dataclasses.replace(train, options=kept), place=place
    )


def unused(topology: Topology, scheme: Scheme) -> tuple[str, ...]:
    """For the records: what the topology sets and the scheme does not use, as sentences."""
    if topology.train.data.views and not any(role.sees for role in scheme.roles):
        return (f"scheme '{scheme.name}' does not use train.data.views",)
    return ()


def _typed(where: str, key: str, value: Any, kind: Any) -> Any:
    within = _within(kind)
    kind = get_origin(kind) or kind
    accepted, wanted = TYPES[kind]
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise TopologyError(f"{where}: train.{key} is {value!r}; it must be {wanted}")
    if kind is Mapping:
        entries: Any = value
        return {name: _typed(where, f"{key}.{name}", entries[name], int) for name in entries}
    if kind is tuple:
        return _names(where, key, value, (int, str) if int in within else (str,))
    return kind(value)


def _within(kind: Any) -> set[Any]:
    """What a tuple[int | str, ...] may hold."""
    return {each for item in get_args(kind) for each in (item, *get_args(item))}


def _names(where: str, key: str, value: Any, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """A list of names (and, where they may be, whole numbers), or names with slashes: F1/F2."""
    items = value.split("/") if isinstance(value, str) else value
    for item in items if isinstance(items, list) else [items]:
        if not isinstance(item, kinds) or isinstance(item, bool) or item == "":
            wanted = "a name or a whole number" if int in kinds else "a name"
            raise TopologyError(f"{where}: train.{key} has {item!r} in it; it must be {wanted}")
    if int in kinds:
        items = [int(item) if str(item).isdecimal() else item for item in items]
    return tuple(items)


def _unknown(key: str, scheme: Scheme, own: tuple[str, ...]) -> str:
    common = [field.name for field in dataclasses.fields(Train)]
    known = sorted({*common, "epochs", *own} - {"options"})
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"train has no key '{key}' under scheme '{scheme.name}'; {hint}keys are " + ", ".join(
        known
    )
