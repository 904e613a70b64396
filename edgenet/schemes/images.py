"""`transfer-images`: the sources send their images to the server, which trains one model on all.

Malandrino and Chiasserini (FPL), section III: "one single model is trained using all of the five
image sources. This entails transferring the images to the edge".

What the paper leaves open. The images travel once, before the first epoch, as the bytes that a
camera holds (uint8; as float32 inputs they would be four times as many), and the server keeps them.
It trains on the union of the views: I times as many samples as any source has, in one random order.
The labels are at the server, as they are for `fpl`. The test set is dealt out to the views in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgenet.data import Eye, Order
from edgenet.errors import NodeError
from edgenet.links.protocol import Kind, Link, LinkGroup
from edgenet.models.stage import Stage, cross_entropy
from edgenet.schemes.bench import Bench, Role, Rounds, Scheme, Setting
from edgenet.schemes.local import mean, require_finite

CHUNK = 1024
"""Images in a message."""


def source(server: Link, eye: Eye, indices: Tensor, rounds: Rounds) -> None:
    """A source: its images leave once."""
    with rounds.enter(rounds.first):
        for at in torch.split(indices, CHUNK):
            server.send(eye.train(at), kind=Kind.DATA)


def server(
    sources: LinkGroup, model: Stage, eyes: Sequence[Eye], labels: Tensor, order: Order,
    rounds: Rounds,
) -> None:  # fmt: skip
    """The server: `labels` of one view's samples, `order` over the samples of all views."""

    def infer(at: Tensor) -> Tensor:
        return model.infer(dealt(eyes, at))

    for number in rounds:
        if number == rounds.first:
            images = collect(sources, len(eyes), len(labels))
        losses = []
        for at in order.epoch(number):
            x = eyes[0].inputs(images[at])
            loss, error = cross_entropy(model.forward(x), labels[at % len(labels)])
            losses.append(require_finite(loss))
            model.backward(error)
            model.step()
        rounds.report(state=model.state(), infer=infer, loss=mean(losses))


def collect(sources: LinkGroup, count: int, samples: int) -> Tensor:
    """The images of all `count` sources, one's behind the other's: (count * samples, ...).

    Raises:
        NodeError: a source was lost before it had sent all.
    """
    parts = [sources.gather() for _ in range(0, samples, CHUNK)]
    if len(parts[-1]) < count:
        raise NodeError(f"only {', '.join(parts[-1])} sent all images; nothing to train on is left")
    return torch.cat([part[name] for name in parts[-1] for part in parts])


def dealt(eyes: Sequence[Eye], at: Tensor) -> Tensor:
    """Test samples as model inputs, seen by the eyes in turn."""
    seen = torch.empty((len(at), *eyes[0].shape), dtype=torch.uint8)
    for number, eye in enumerate(eyes):
        mine = at % len(eyes) == number
        seen[mine] = eye.test(at[mine])
    return eyes[0].inputs(seen)


def _play_server(bench: Bench) -> None:
    names = bench.cast("source")
    labels = bench.dataset().train_y[bench.order().indices]
    eyes = [bench.eye(name) for name in names]
    order = bench.order(times=len(names))
    server(bench.links("source"), bench.model(), eyes, labels, order, bench.rounds())


def _play_source(bench: Bench) -> None:
    source(bench.link("server"), bench.eye(), bench.order().indices, bench.rounds())


def _model(setting: Setting) -> torch.nn.Module:
    for name, shape in setting.shapes.items():
        if shape != setting.image:
            raise ValueError(
                f"data.views lets {name} see no images, and this scheme transfers them"
            )
    return setting.layers


TRANSFER_IMAGES = Scheme(
    name="transfer-images",
    summary="the sources send their images, the server trains on all of them (FPL sec. III)",
    roles=(
        Role(name="server", play=_play_server, peers=("source",)),
        Role(name="source", play=_play_source, peers=("server",), many=True, sees=True),
    ),
    model=_model,
)
