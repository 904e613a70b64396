"""An attack on the smashed data of a finished run: what its folder holds, put together again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgenet.data import Dataset
from edgenet.data.seeds import generator
from edgenet.errors import InputError
from edgenet.models.layers import LayerList, cut
from edgenet.models.leakage import Leak, measure
from edgenet.node.plan import Plan, resolve
from edgenet.node.rounds import OWN_MODELS
from edgenet.node.substance import dataset_of, model_of
from edgenet.topology import load

_TESTED_ON = 5
"""One in so many of the images is kept from the decoder, to test it on."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """How a run is attacked."""

    samples: int = 5000
    """At most so many images of the test set, which nobody has trained on, are used."""
    epochs: int = 20
    """Of training the decoder."""
    seed: int = 0
    """Of the client that is attacked, the images, and the decoder."""
    client: int | None = None
    """Which client's head is attacked, counted from 0 in file order; None: one drawn by the seed,
    as in the paper's section 4.3. Where all clients have one head, that one."""


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """What came of it."""

    plan: Plan
    """The run's."""
    client: int | None
    """Whose head it was; None: all clients'."""
    leak: Leak
    """What leaked."""
    images: Tensor
    """The images that the decoder was tested on, (samples, channels, height, width) in 0..1."""
    guessed: Tensor
    """The decoder's reconstructions of them."""

    @property
    def phi(self) -> float:
        """Of SplitAvg; 0 under a scheme without it."""
        return float(getattr(self.plan.options, "phi", 0.0))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        about = {"scheme": self.plan.scheme.name, "phi": self.phi, "client": self.client}
        return about | self.leak.as_dict()


def attack(run: Path, how: Attack) -> Attacked:
    """Train a decoder on the smashed data that a run's model makes of held-out images.

    Args:
        run: the run's folder: topology.yaml, model.pt, and models.pt where the clients' heads
            differ.
        how: the settings.

    Raises:
        InputError: no finished run is there, its scheme cuts no model, or its test set is too
            small.
        TopologyError: the run's topology does not suit this version of edgenet.
    """
    plan = resolve(load(run / "topology.yaml"))
    at = plan.topology.train.cut
    if at is None or not plan.scheme.cuts:
        raise InputError(
            f"{run}: scheme '{plan.scheme.name}' cuts no model, so there are no smashed data; "
            "give a run of split learning"
        )
    dataset = dataset_of(plan.topology)
    model = model_of(plan.topology, dataset).eval()
    client = _restore(model, run, how)
    head, _ = cut(model, at)
    known, unknown = _held_out(dataset, how)
    leak, guessed = measure(head, known, unknown, epochs=how.epochs, seed=how.seed)
    return Attacked(plan=plan, client=client, leak=leak, images=unknown[1], guessed=guessed)


def _restore(model: LayerList, run: Path, how: Attack) -> int | None:
    """Load the weights of one client and the server; returns which client's."""
    model.load_state_dict(_saved(run / "model.pt"))
    if not (run / OWN_MODELS).is_file():
        return None
    heads = _saved(run / OWN_MODELS)
    client = how.client
    if client is None:
        client = int(torch.randint(len(heads), (), generator=generator("leakage", how.seed)))
    if not 0 <= client < len(heads):
        raise InputError(f"{run}: there is no client {client}; clients are 0 to {len(heads) - 1}")
    model.load_state_dict(heads[client], strict=False)
    return client


def _saved(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: not there; give the folder of a run that has ended")
    return torch.load(path, weights_only=True)


def _held_out(dataset: Dataset, how: Attack) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(inputs, pixels in 0..1) for the decoder to learn from, and to be tested on."""
    there = min(how.samples, len(dataset.test_x))
    tested = there // _TESTED_ON
    if tested < 2:
        raise InputError(
            f"a decoder needs {2 * _TESTED_ON} held-out images or more, not {there}; give the run "
            "a larger train.data.test"
        )
    order = torch.randperm(len(dataset.test_x), generator=generator("held out", how.seed))
    images = dataset.test_x[order[:there]]
    inputs, pixels = dataset.normalised(images), images.float() / 255
    return (inputs[tested:], pixels[tested:]), (inputs[:tested], pixels[:tested])
