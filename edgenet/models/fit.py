"""Whether tensors that came from elsewhere are of the shapes that a stage has."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from edgenet.errors import NodeError


def kind(t: Tensor) -> str:
    """Dtype and shape, for people."""
    return f"{t.dtype} {tuple(t.shape)}".removeprefix("torch.")


def require_like(
    verb: str, given: Sequence[Tensor], names: Sequence[str], mine: Sequence[Tensor]
) -> None:
    """Refuse what `verb` was given, unless it is of the shapes and dtypes of `mine`.

    Raises:
        NodeError: it is not; the text names the first that differs.
    """
    if len(given) != len(mine):
        raise NodeError(
            f"{verb} was given {len(given)} tensors; the stage has {len(mine)}: {', '.join(names)}"
        )
    for name, own, other in zip(names, mine, given, strict=True):
        if own.shape != other.shape or own.dtype != other.dtype:
            raise NodeError(f"{verb} was given {kind(other)} for {name}, which is {kind(own)}")
