"""Which back ends this machine can do, why not, and what would help."""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from edgenet.channels import BEFORE, Timeline
from edgenet.errors import ShapingError
from edgenet.shaping import calls
from edgenet.shaping.lanes import lanes
from edgenet.topology.events import ON_LINKS, sentence
from edgenet.topology.spec import Topology

KERNEL = ("netem", "relay")
"""Back ends that emulate a network in or below the kernel; they need a namespace per node."""

CHOICES = ("auto", *KERNEL, "paced", "none")
"""What may be asked for."""

NET_ADMIN, _SYS_ADMIN = 12, 21  # linux/capability.h


@dataclass(frozen=True)
class Shaping:
    """A back end and the reason for it."""

    used: str
    """'netem', 'relay', 'paced' or 'none'."""
    why: str
    """Half a sentence."""


def choose(asked: str, topology: Topology, *, namespaces: bool) -> Shaping:
    """The back end for what was asked; never another one than was asked for by name.

    Args:
        asked: one of CHOICES.
        topology: the network that it is wanted for.
        namespaces: whether every node gets a network namespace of its own.

    Raises:
        ShapingError: it cannot be had, and what would help.
    """
    if asked not in CHOICES:
        raise ShapingError(f"there is no shaping '{asked}'; the choices are {', '.join(CHOICES)}")
    if asked == "auto":
        return _auto(topology, namespaces)
    if asked in KERNEL and not namespaces:
        raise ShapingError(
            f"shaping '{asked}' needs a network namespace for each node; add --launcher "
            "namespaces, or use --shaping paced"
        )
    if namespaces:
        require(asked, topology)
    reason = unsuited(asked, topology)
    if reason is not None:
        raise ShapingError(f"shaping '{asked}' is not possible: {reason}")
    return Shaping(asked, "asked for by name")


def _auto(topology: Topology, namespaces: bool) -> Shaping:
    if not namespaces:
        return Shaping("paced", "auto: the nodes share one network, so the links pace themselves")
    reasons: list[str] = []
    for back_end in KERNEL:
        reason = available(back_end) or unsuited(back_end, topology)
        if reason is None:
            return Shaping(back_end, "auto: " + "; ".join([*reasons, f"{back_end} works here"]))
        reasons.append(f"no {back_end}: {reason.partition(';')[0]}")
    require("paced", topology)
    return Shaping("paced", "auto: " + "; ".join(reasons))


def require(back_end: str, topology: Topology) -> None:
    """Raises ShapingError unless this machine can join namespaces by this back end."""
    reason = available(back_end) or unsuited(back_end, topology)
    if reason is not None:
        raise ShapingError(f"shaping '{back_end}' is not possible in namespaces here: {reason}")


def available(back_end: str) -> str | None:
    """Why this machine cannot do a back end in namespaces, and after '; ' what would help; None
    if it can. Found out by trying, in a namespace that is gone afterwards."""
    reason = _namespaces()
    if reason is not None:
        return reason
    if back_end == "relay":
        return _tun()
    return _netem() if back_end == "netem" else None


def unsuited(back_end: str, topology: Topology) -> str | None:
    """Why a back end cannot do this network on any machine; None if it can."""
    if back_end == "none":
        return _unmoved(topology)
    if back_end != "netem":
        return None
    from edgenet.shaping import netem

    for link in topology.links:
        if link.shared and len(link.ends) > 1 and "fading_s" in link.options:
            return (
                f"netem cannot share '{link.name}' among members that fade each for itself; use "
                "--shaping relay"
            )
    timeline = Timeline(topology)
    for at_s in (BEFORE, *timeline.times):
        reason = netem.unsuited(lanes(topology, timeline, at_s))
        if reason is not None:
            return reason
    return None


def _unmoved(topology: Topology) -> str | None:
    """Why a network that nothing shapes cannot do what the topology has happen."""
    for number, event in enumerate(topology.events):
        if event.kind in ON_LINKS:
            return (
                f"nothing is shaped, so event {number + 1} of {topology.file} ({sentence(event)}) "
                "cannot happen; use another shaping, or --set events=null"
            )
    return None


def _namespaces() -> str | None:
    if not sys.platform.startswith("linux"):
        return "network namespaces are a feature of Linux; use --launcher local --shaping paced"
    if importlib.util.find_spec("pyroute2") is None:
        return "the package pyroute2 is missing; install it with `pip install pyroute2`"
    held = capabilities()
    for bit, name in ((NET_ADMIN, "CAP_NET_ADMIN"), (_SYS_ADMIN, "CAP_SYS_ADMIN")):
        if not held >> bit & 1:
            return (
                f"this process lacks {name}; run it as root (in a container: --cap-add "
                f"{name.removeprefix('CAP_')}), or use --launcher local --shaping paced"
            )
    try:
        with calls.scratch():
            return None
    except OSError as error:
        return (
            f"the kernel makes no network namespace ({error.strerror}); use --launcher local "
            "--shaping paced"
        )


def capabilities() -> int:
    """The effective capabilities of this process, a bit each."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _tun() -> str | None:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        remedy = "load it with `modprobe tun`, in a container add --device /dev/net/tun"
        if error.errno in (errno.EPERM, errno.EACCES):
            remedy = "run as root, in a container with --device /dev/net/tun"
        return f"/dev/net/tun does not open ({error.strerror}); {remedy}"
    return None


def _netem() -> str | None:
    from edgenet.shaping.netem import missing

    module = missing()
    if module is None:
        return None
    return f"the kernel has no {module}; load it with `modprobe {module}`, or use --shaping relay"
