"""A small run for a command's own purposes: nothing is said of it, and nothing of it is left."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgenet.launchers.local import Local, Request
from edgenet.launchers.outcome import Outcome


def tried(topology: str) -> Outcome:
    """Run the topology of this text; its folder is gone when this returns.

    Raises:
        EdgenetError: no node could be started.
        OSError: there is no room for its folder.
    """
    with tempfile.TemporaryDirectory(prefix="edgenet-") as folder:
        path = Path(folder) / "topology.yaml"
        path.write_text(topology, encoding="utf-8")
        return Local(say=lambda line: None).run(Request(path=path, out=Path(folder)))
