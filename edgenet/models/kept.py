"""What of a model is kept in a checkpoint beyond its stages: a whole model that a scheme put
together, with the members of its junction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from edgenet.errors import NodeError
from edgenet.models.junction import Junction


class KeptModule:
    """A module that a role was given whole. Its tensors are kept as far as they were loaded anew;
    what stages train of it is kept by them, and all else is as the seed made it.

    Args:
        module: as it was made.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._made = {name: (t, t._version) for name, t in _tensors(module).items()}

    def checkpoint(self) -> dict[str, Any]:
        """What has changed since: {tensors, sources of each junction}."""
        changed = {}
        for name, t in _tensors(self._module).items():
            made, version = self._made.get(name, (None, 0))
            if t is not made or t._version != version:
                changed[name] = t.detach()
        return {
            "tensors": changed,
            "sources": {name: list(each.sources) for name, each in self._junctions().items()},
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Make the module as it was."""
        for name, junction in self._junctions().items():
            junction.adopt(saved["sources"][name])
        tensors = _tensors(self._module)
        copy_named(saved["tensors"], {name: tensors[name] for name in saved["tensors"]})

    def _junctions(self) -> dict[str, Junction]:
        modules = self._module.named_modules()
        return {name: module for name, module in modules if isinstance(module, Junction)}


def copy_named(saved: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    """Copy tensors by name.

    Raises:
        NodeError: other names or shapes.
    """
    if set(saved) != set(into):
        other = ", ".join(sorted(set(saved) ^ set(into)))
        raise NodeError(f"the checkpoint does not fit the model: only one of them has {other}")
    for name, tensor in into.items():
        if tensor.shape != saved[name].shape:
            shapes = f"{tuple(saved[name].shape)}, not {tuple(tensor.shape)}"
            raise NodeError(f"the checkpoint does not fit the model: {name} is {shapes}")
        tensor.detach().copy_(saved[name])


def named_tensors(
    names: Iterable[str], tensors: Mapping[str, Sequence[Tensor]]
) -> dict[str, dict[str, Tensor]]:
    """{what: {name: tensor}} of {what: tensors in the order of the names}."""
    return {what: dict(zip(names, each, strict=True)) for what, each in tensors.items()}


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
