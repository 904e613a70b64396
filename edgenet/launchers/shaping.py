"""Which shaping back end a run uses, and why."""

from __future__ import annotations

from dataclasses import dataclass

from edgenet.errors import ShapingError

CHOICES = ("auto", "paced", "none")
"""What may be asked for."""

_WHY_AUTO = "auto: it needs no privileges, and this version has no kernel back end"


@dataclass(frozen=True)
class Shaping:
    """A back end and the reason for it."""

    used: str
    """'paced' or 'none'."""
    why: str
    """Half a sentence."""


def choose(asked: str) -> Shaping:
    """The back end for what was asked; never another one than was asked for by name.

    Raises:
        ShapingError: this version does not have it.
    """
    if asked not in CHOICES:
        raise ShapingError(
            f"shaping '{asked}' is not in this version; the choices are {', '.join(CHOICES)}"
        )
    return Shaping("paced", _WHY_AUTO) if asked == "auto" else Shaping(asked, "asked for by name")
