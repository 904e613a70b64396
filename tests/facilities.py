"""What a test may need from the machine, and whether it is there.

A test that cannot run without a facility says so by name, and only so:

    from facilities import needs

    @needs("root", "network namespaces")
    def test_...
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest


def _succeeds(*command: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _tun() -> bool:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError:
        return False
    return True


def compose_command() -> list[str]:
    """Compose, in the form that is installed here."""
    if _succeeds("docker", "compose", "version"):
        return ["docker", "compose"]
    return ["docker-compose"]


def _docker() -> bool:
    return _succeeds("docker", "info") and _succeeds(*compose_command(), "version")


def sshd() -> str | None:
    """OpenSSH's server, which is not on every user's path."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def netem_runner() -> str:
    """The command that EDGENET_NETEM_VM names: it runs its arguments as root under a kernel that
    has sch_netem. Empty where none is named."""
    return os.environ.get("EDGENET_NETEM_VM", "")


def _netem() -> bool:
    from edgenet.shaping.choice import available

    return available("netem") is None


def _control_groups() -> bool:
    from edgenet.shaping.cgroups import find

    return not isinstance(find(), str)


def _data() -> bool:
    return Path(os.environ.get("EDGENET_DATA") or "/nonexistent").is_dir()


PROBES: dict[str, Callable[[], bool]] = {
    "root": lambda: os.geteuid() == 0,
    "EDGENET_DATA": _data,
    "Linux": lambda: sys.platform.startswith("linux"),
    "docker": _docker,
    "network namespaces": lambda: _succeeds("unshare", "--net", "true"),
    "TUN": _tun,
    "WireGuard": lambda: all(shutil.which(each) for each in ("wg", "wireguard-go")) and _tun(),
    "sshd": lambda: sshd() is not None and shutil.which("ssh") is not None,
    "sch_netem": lambda: bool(netem_runner()) or _netem(),
    "tensorboard": lambda: importlib.util.find_spec("tensorboard") is not None,
    "chromium": lambda: shutil.which("chromium") is not None,
    "control groups": _control_groups,
    "two cores": lambda: len(os.sched_getaffinity(0)) > 1,
}
"""Name of each facility (as it stands after 'needs' in a skip's reason) -> is it here?"""


@cache
def have(facility: str) -> bool:
    """Whether this machine has the facility; KeyError for a name that is not in PROBES."""
    return PROBES[facility]()


def needs(*facilities: str) -> pytest.MarkDecorator:
    """Skip the test where one of the facilities is missing, with a reason that CI can check."""
    missing = not all(have(facility) for facility in facilities)
    return pytest.mark.skipif(missing, reason="needs " + " and ".join(facilities))


def unjustified(reason: str) -> str | None:
    """Why a skip with this reason should not have been; None where it is in order."""
    match = re.match(r"(?:Skipped: )?needs ([^:;(]+)", reason)
    if match is None:
        return "a skip's reason must be 'needs <facility>' (tests/facilities.py)"
    named = [name.strip() for name in match[1].split(" and ")]
    unknown = [name for name in named if name not in PROBES]
    if unknown:
        choices = ", ".join(PROBES)
        return f"unknown facility '{unknown[0]}'; the choices are {choices} (tests/facilities.py)"
    if all(have(name) for name in named):
        return f"it was skipped although this machine has {' and '.join(named)}"
    return None
