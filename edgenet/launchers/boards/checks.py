"""What a board must be and have, judged from what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgenet.launchers.boards.hosts import PRESENT, Board
from edgenet.units import format_time

MACHINES = ("x86_64", "AMD64", "aarch64", "arm64")
"""Those that torch has wheels for."""
NODE_BYTES = 300 << 20
"""What a node with a small model takes: torch itself is the most of it."""
_FRESH_BYTES, _ENV_BYTES = 3 << 30, 300 << 20
_CLOCK_S = 2.0


def complaints(
    board: Board, facts: Mapping[str, Any], offset_s: float, edgenet: str, run: str = ""
) -> Iterator[str]:
    """Why this board cannot take part, each with its remedy.

    Args:
        board: as hosts.yaml has it.
        facts: the first answer of `onboard.check`.
        offset_s: its clock's lead over this host's; what the way there takes is in it.
        edgenet: the digest of this host's own; a board's agent must run the same.
        run: the one that is to go on; empty: it begins.
    """
    if run and not facts["kept"]:
        yield (
            f"has lost its folder of this run (~/.edgenet/runs/run-{run}), and with it the "
            f"checkpoints of {', '.join(board.nodes)}; put it back, or run the topology anew, "
            "without --resume"
        )
    if facts.get("edgenet", edgenet) != edgenet:
        yield (
            f"has an agent of edgenet {facts['edgenet']}, and this is {edgenet}; install the same "
            "on both, and start the agent anew"
        )
    if facts["machine"] not in MACHINES or facts["bits"] != 64:
        yield (
            f"is a {facts['bits']}-bit {facts['machine']}, which torch has no wheels for; install "
            "the 64-bit system (x86_64 or aarch64)"
        )
    if facts["port"] is None:
        yield (
            f"cannot listen at {board.address} ({facts['why']}); write its own address as "
            "`address:`"
        )
    yield from _packages(board, facts)
    need = _ENV_BYTES if board.packages == PRESENT or facts["present"] else _FRESH_BYTES
    if facts["disk_bytes"] < need:
        yield f"has {_mib(facts['disk_bytes'])} free for ~/.edgenet; it takes {_mib(need)}"
    need = NODE_BYTES * len(board.nodes)
    if facts["memory_bytes"] is not None and facts["memory_bytes"] < need:
        yield (
            f"has {_mib(facts['memory_bytes'])} of memory to spare, but {len(board.nodes)} nodes "
            f"take about {_mib(need)}; give it fewer, or end what runs there"
        )
    if abs(offset_s) > _CLOCK_S:
        way = "ahead of" if offset_s > 0 else "behind"
        yield (
            f"has a clock that is {format_time(abs(offset_s))} {way} this host's; set it "
            "(`sudo timedatectl set-ntp true`)"
        )


def _packages(board: Board, facts: Mapping[str, Any]) -> Iterator[str]:
    if facts["present"]:
        return
    if board.packages == PRESENT and facts["torch"] is None:
        yield (
            f"has no torch in {board.python}, though hosts.yaml says `packages: present`; name the "
            "interpreter that has it as `python:`, or leave `packages:` out"
        )
    if not facts["venv"] and not (board.packages == PRESENT and facts["pip"]):
        yield "cannot make environments; `sudo apt install python3-venv` there"


def _mib(count: float) -> str:
    return f"{count / (1 << 20):.0f} MiB"
