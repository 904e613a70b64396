"""A WireGuard tunnel on a board, for as long as somebody holds the line. Sent along with `onboard`:
the standard library only.

The kernel's WireGuard where it has one, wireguard-go otherwise; both are set up by `wg` and `ip`,
as root or by a sudo that asks nothing. The private key is made here and never leaves the board.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FOLDER = Path.home() / ".edgenet" / "tunnels"
"""A locked file for each interface that stands."""
PREFIX = "edgenet-"
_KEEPALIVE_S = 20
_HANDSHAKE_S = 22.0
"""Time for three more tries: WireGuard calls again after 5 s."""
_POLL_S = 0.1


def tunnel(
    order: dict[str, Any], say: Callable[..., None], hear: Callable[[], dict[str, Any]]
) -> None:
    """Make an interface, say its public key and port, take its peers, and remove it at the end.

    Args:
        order: {name, address}: of the interface; the address with its prefix length.
        say: answers.
        hear: takes the next order; what it raises at the end of the line ends this.
    """
    try:
        with _interface(order["name"]) as name:
            private = _wg("genkey")
            public = _wg("pubkey", given=private)
            _wg("set", name, "private-key", "/dev/stdin", given=private)
            _ip("address", "add", order["address"], "dev", name)
            _ip("link", "set", name, "up")
            say(public=public.strip(), port=int(_wg("show", name, "listen-port")))
            peers = hear()["peers"]
            for peer in peers:
                _wg(
                    *("set", name, "peer", peer["public"], "endpoint", peer["endpoint"]),
                    *("allowed-ips", peer["address"]),
                )
            say(knows=True)
            hear()  # until all others do, too: who does not know the caller does not answer it
            for peer in peers:
                if peer["calls"]:
                    _keep(name, peer)  # which shakes hands at once
            silent = _unheard(name, peers)
            if silent:
                say(failed=_no_answer(silent))
                return
            for peer in peers:
                _keep(name, peer)
            say(stands=True)
            hear()
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        say(failed=f"no WireGuard: {said.strip().splitlines()[-1]}; see docs/boards.md")


def _keep(name: str, peer: dict[str, Any]) -> None:
    _wg("set", name, "peer", peer["public"], "persistent-keepalive", str(_KEEPALIVE_S))


def _unheard(name: str, peers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those with whom no hands have been shaken in time."""
    end = time.monotonic() + _HANDSHAKE_S
    while True:
        lines = _wg("show", name, "latest-handshakes").splitlines()
        done = {public for public, at in map(str.split, lines) if int(at)}
        silent = [peer for peer in peers if peer["public"] not in done]
        if not silent or time.monotonic() > end:
            return silent
        time.sleep(_POLL_S)


def _no_answer(silent: list[dict[str, Any]]) -> str:
    who = ", ".join(f"'{peer['name']}' at {peer['endpoint']}" for peer in silent)
    return f"no WireGuard handshake with {who} within {_HANDSHAKE_S:.0f} s; let UDP through"


@contextlib.contextmanager
def _interface(name: str) -> Iterator[str]:
    """A new interface, gone at the end; those that killed deployments have left go, too."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        with contextlib.suppress(OSError), old.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(old.name)
            old.unlink()
    with (FOLDER / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            _make(name)
            yield name
        finally:
            _remove(name)
            (FOLDER / name).unlink()


def _make(name: str) -> None:
    try:
        _ip("link", "add", name, "type", "wireguard")
    except subprocess.CalledProcessError as error:
        if shutil.which("wireguard-go", path=_PATH) is None:
            why = error.stderr.strip() or "no right to"
            raise OSError(
                f"the kernel has none ({why}), and there is no wireguard-go; "
                "`sudo apt install wireguard-tools wireguard-go`"
            ) from None
        _root("wireguard-go", name)


def _remove(name: str) -> None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        _ip("link", "delete", name)  # which a wireguard-go takes as its end


_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


def _wg(*words: str, given: str = "") -> str:
    return _root("wg", *words, given=given)


def _ip(*words: str) -> str:
    return _root("ip", *words)


def _root(*command: str, given: str = "") -> str:
    program = shutil.which(command[0], path=_PATH)
    if program is None:
        raise OSError(f"there is no {command[0]}; `sudo apt install wireguard-tools`")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    done = subprocess.run(
        [*prefix, program, *command[1:]], input=given, capture_output=True, text=True, check=True
    )
    return done.stdout
