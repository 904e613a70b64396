"""What smashed data give away: a decoder that is trained to draw the inputs from them.

Pal et al. (SGLR), sec. 4.3: an honest but curious server holds the smashed data and reconstructs
the images. The paper takes a decoder that was trained on other images; here the decoder is trained
on smashed data of the very model that is attacked, which is the stronger server. A higher loss
means that less leaks.

Two measures of information stand beside the loss, both in nats:

- `decoder_nats`: how much better the decoder's guess of a whole image is than the best guess
  without smashed data, the mean image. After Wang et al. 2021 (whom the paper follows), I(X; S) >=
  H(X) - R(X|S) with R the reconstruction's loss; H(X) is not known, so the loss without S stands in
  its place, which makes it the usable information of Xu et al. 2020. It is a sum over pixels.
- `mutual_nats`: Kraskov et al.'s estimate of the mutual information of the first principal
  components of images and of smashed data. It needs no decoder, so it does not depend on one. Of
  whole images it would say nothing: smashed data identify an image, so any such estimate just finds
  the logarithm of the number of images.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from edgenet.errors import InputError
from edgenet.models.layers import LayerList, initialise
from edgenet.models.likeness import (
    cross_entropy,
    mutual_information,
    principal_components,
    ssim,
)
from edgenet.models.local import LocalStage
from edgenet.models.parts import Convolution, Shape, connected, layer
from edgenet.topology.spec import Optimizer

COMPONENTS = 4
"""Principal components of either side that `mutual_nats` looks at."""
MOST_PAIRED = 2000
"""Samples that `mutual_nats` looks at: its distances take samples x samples numbers."""
_WIDTH, _HIDDEN = 32, 256
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Leak:
    """What a decoder found out."""

    bce: float
    """Binary cross-entropy of a pixel between images and reconstructions, pixels in 0..1."""
    bce_blind: float
    """The same for the mean image as every reconstruction: nothing has leaked."""
    bce_exact: float
    """The same for the images themselves: everything has leaked."""
    ssim: float
    """Structural similarity of images and reconstructions; 1: equal."""
    decoder_nats: float
    """Usable information, of a whole image."""
    mutual_nats: float
    """Mutual information of the first principal components."""
    samples: int
    """Images that this was measured on; the decoder has not seen them."""

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def decoder(smashed: Shape, images: Shape, seed: int) -> LayerList:
    """A network from smashed data (batch, *smashed) to logits of pixels (batch, *images).

    Activations of convolutions are doubled in size between convolutions until they have the
    images'; flat ones go through two fully connected layers.
    """
    if len(smashed) == 3:
        model = LayerList(_growing(smashed, images))
    else:
        pixels = images[0] * images[1] * images[2]
        out = layer(pixels=connected(_HIDDEN, pixels, last=True), image=nn.Unflatten(1, images))
        features = int(torch.Size(smashed).numel())
        model = LayerList(OrderedDict(hidden=connected(features, _HIDDEN), out=out))
    return initialise(model, torch.Generator().manual_seed(seed))


def _growing(smashed: Shape, images: Shape) -> OrderedDict[str, nn.Module]:
    channels, *size = smashed
    found: OrderedDict[str, nn.Module] = OrderedDict()
    while size[0] * 2 <= images[1] and size[1] * 2 <= images[2]:
        conv = Convolution(channels, _WIDTH, 3, padding=1)
        found[f"grow{len(found)}"] = layer(conv=conv, relu=nn.ReLU(), larger=nn.Upsample(None, 2))
        channels, size = _WIDTH, [2 * side for side in size]
    if not found:
        conv = Convolution(channels, _WIDTH, 3, padding=1)
        found["hold"] = layer(conv=conv, relu=nn.ReLU())
    found["fit"] = nn.Upsample(images[1:])
    found["out"] = Convolution(_WIDTH, images[0], 3, padding=1)
    return found


def train_decoder(smashed: Tensor, images: Tensor, *, epochs: int, seed: int) -> LayerList:
    """A decoder trained by Adam to the least cross-entropy on (smashed, images in 0..1).

    Raises:
        InputError: no samples, or not as many of one as of the other.
    """
    if not len(images) or len(images) != len(smashed):
        raise InputError(f"a decoder cannot learn {len(images)} images from {len(smashed)} samples")
    model = decoder(tuple(smashed.shape[1:]), tuple(images.shape[1:]), seed)
    stage = LocalStage(model, Optimizer(name="adam"), 1e-3, needs_input_error=False)
    random = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for at in torch.split(torch.randperm(len(images), generator=random), _BATCH):
            logits = stage.forward(smashed[at])
            stage.backward((logits.sigmoid() - images[at]) / images[at].numel())
            stage.step()
    return model.eval()


def measure(
    head: Callable[[Tensor], Tensor],
    known: tuple[Tensor, Tensor],
    unknown: tuple[Tensor, Tensor],
    *,
    epochs: int,
    seed: int,
) -> tuple[Leak, Tensor]:
    """Attack `head`; returns what leaked and the reconstructions (samples, *image) of `unknown`.

    Args:
        head: from inputs to smashed data.
        known: (inputs (samples, channels, height, width), the same images with pixels in 0..1):
            what the decoder learns from.
        unknown: likewise; what it is tested on.
        epochs: passes over `known`.
        seed: of the decoder's weights and of the order of the samples.
    """
    with torch.no_grad():
        there, hidden = (
            torch.cat(list(map(head, torch.split(x, 256)))) for x, _ in (known, unknown)
        )
    # Scaled to deviation 1, as any attacker would; a head that is constant stays so.
    shift, scale = there.mean(), there.std().clamp(min=1e-6)
    there, hidden = (there - shift) / scale, (hidden - shift) / scale
    model = train_decoder(there, known[1], epochs=epochs, seed=seed)
    images = unknown[1]
    with torch.no_grad():
        guessed = torch.cat([model(part).sigmoid() for part in torch.split(hidden, 256)])
    return _leak(images, guessed, known[1].mean(0), hidden), guessed


def _leak(images: Tensor, guessed: Tensor, blind: Tensor, hidden: Tensor) -> Leak:
    bce = cross_entropy(images, guessed)
    bce_blind = cross_entropy(images, blind.expand_as(images))
    paired = slice(0, MOST_PAIRED)
    return Leak(
        bce=bce,
        bce_blind=bce_blind,
        bce_exact=cross_entropy(images, images),
        ssim=ssim(images, guessed),
        decoder_nats=(bce_blind - bce) * images[0].numel(),
        mutual_nats=mutual_information(
            principal_components(images[paired], COMPONENTS),
            principal_components(hidden[paired], COMPONENTS),
        ),
        samples=len(images),
    )
