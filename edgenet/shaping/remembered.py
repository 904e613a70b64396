"""What was done to an interface that is not ours, and what was there before, written down.

One file for each interface, in a folder that does not outlive the kernel it speaks of; written in
one move, before anything is changed. Named by network namespace and interface, because containers
may see the same folder.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgenet.shaping import calls
from edgenet.shaping.qdiscs import Queue
from edgenet.topology.spec import Channel

FOLDER = Path("/run/edgenet/interfaces")
"""Where the records lie."""


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """One interface that is shaped."""

    device: str
    """The interface."""
    node: str
    """The node that this host is."""
    queue: Queue | None
    """What was at its root; None: what the kernel puts there by itself."""
    segments: int
    """How many segments the kernel left to the interface to cut (gso_max_segs)."""
    ifb: str | None
    """The interface that was made for what comes in; None: nothing is done to that."""
    rate_only: bool
    """Delay, jitter and loss were left out."""
    ways: tuple[tuple[str, str, Channel, Channel], ...]
    """(peer, address, to it, from it)."""


def keep(record: Remembered, folder: Path = FOLDER) -> None:
    """Write a record. Raises OSError: no right to."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = asdict(record) | {"boot": _boot()}
    if record.queue is not None:
        fields["queue"] |= {
            name: None if raw is None else raw.hex()
            for name, raw in (("options", record.queue.options), ("sizes", record.queue.sizes))
        }
    handle, name = tempfile.mkstemp(dir=folder, prefix=".")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(_finite(fields), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, _path(record.device, folder))


def recall(device: str, folder: Path = FOLDER) -> Remembered | None:
    """The record of an interface in this namespace; None: there is none, or it speaks of an
    earlier boot, after which nothing of it is left."""
    try:
        fields = json.loads(_path(device, folder).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if fields.pop("boot") != _boot():
        return None
    queue = fields["queue"]
    if queue is not None:
        for name in ("options", "sizes"):
            queue[name] = None if queue[name] is None else bytes.fromhex(queue[name])
        fields["queue"] = Queue(**queue)
    fields["ways"] = tuple(
        (peer, address, _channel(there), _channel(back))
        for peer, address, there, back in fields["ways"]
    )
    return Remembered(**fields)


def forget(device: str, folder: Path = FOLDER) -> None:
    """It is as it was."""
    _path(device, folder).unlink(missing_ok=True)


def all_here(folder: Path = FOLDER) -> Iterator[Remembered]:
    """The records of this namespace."""
    for path in sorted(folder.glob(f"{_namespace()}-*.json")):
        record = recall(path.stem.partition("-")[2], folder)
        if record is not None:
            yield record


def _path(device: str, folder: Path) -> Path:
    return folder / f"{_namespace()}-{device}.json"


def _namespace() -> int:
    return calls.HERE.stat().st_ino


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _finite(value: Any) -> Any:
    """JSON has no infinity: an unlimited rate is written as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _channel(fields: dict[str, Any]) -> Channel:
    rate_bps = fields["rate_bps"]
    return Channel(**fields | {"rate_bps": math.inf if rate_bps is None else rate_bps})
