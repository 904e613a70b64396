"""The `devices:` section: profiles that were measured on boards of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenet.devices import PROFILES, Device, as_device, read_profile
from edgenet.topology.document import Entry
from edgenet.topology.section import Section, show


def read_devices(section: Section | None, folder: Path) -> dict[str, Device]:
    """Name -> profile: of a file (its path is relative to `folder`), or written out.

    Raises:
        TopologyError: one that is no profile, or has the name of another device.
    """
    if section is None:
        return {}
    return {name: _device(section, name, folder) for name in section}


def _device(section: Section, name: str, folder: Path) -> Device:
    if name in PROFILES:
        raise section.fail(f"gives '{name}', a device that there is already, another profile", name)
    value = plain(section.entries[name])
    try:
        if isinstance(value, str):
            return read_profile(folder / value).called(name)
        if isinstance(value, dict):
            return as_device({**value, "name": name})
    except ValueError as error:
        raise section.fail(f"has no profile for '{name}': {error}", name) from None
    raise section.fail(
        f"has {show(value)} as '{name}'; it must be the path of a file that `edgenet bench "
        "--save-profile` wrote, or such a file's fields",
        name,
    )


def plain(entry: Entry) -> Any:
    """The value of an entry, without the places that it came from."""
    value = entry.value
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value
