"""A profile in a file: written on a board by `edgenet bench --save-profile`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from edgenet.devices.profile import Device

_NUMBERS = ("cores", "memory_bytes", "matrix_flops", "training_flops", "idle_w", "load_w")
_WHOLE = ("cores", "memory_bytes")
_DEFAULTS: dict[str, Any] = {**dict.fromkeys(_NUMBERS), "description": "", "source": "given"}


def write_profile(path: Path, device: Device) -> None:
    """Write `device` as YAML, numbers in SI units."""
    fields = dataclasses.asdict(device) | {"derived": list(device.derived)}
    path.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")


def read_profile(path: Path) -> Device:
    """The profile in a file.

    Raises:
        ValueError: no such file, or it holds no profile.
    """
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read as a device profile: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(
            f"{path} holds no device profile; `edgenet bench --save-profile` makes one"
        )
    return as_device(fields)


def as_device(fields: Mapping[str, Any]) -> Device:
    """The profile with these fields; all but `name` may be missing.

    Raises:
        ValueError: a field that does not exist, or a value of the wrong type or out of range.
    """
    known = [field.name for field in dataclasses.fields(Device)]
    for key, value in fields.items():
        if key not in known:
            raise ValueError(f"a device has no '{key}'; it has {', '.join(known)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key in _NUMBERS and not (value is None or number):
            raise ValueError(f"a device's {key} is {value!r}; it must be a number")
    if not isinstance(fields.get("name"), str):
        raise ValueError("a device needs a name")
    whole = {key: _whole(key, fields[key]) for key in _WHOLE if fields.get(key) is not None}
    return Device(**{**_DEFAULTS, **fields, **whole, "derived": tuple(fields.get("derived") or ())})


def _whole(key: str, value: float) -> int:
    if not math.isfinite(value) or value != int(value):
        raise ValueError(f"a device's {key} is {value!r}; it must be a whole number")
    return int(value)
