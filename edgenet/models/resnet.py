"""ResNet-16: the network of the SGLR paper's tables 1 to 3 and 5.

Pal et al., "Server-side local gradient averaging and learning rate acceleration for scalable split
learning", sec. 4.1: "a Resnet16 architecture where the first 9 layers are stored on each of the
client devices and the last 7 layers are stored on the server". The paper does not draw it. Read
here: He et al. 2016's basic blocks, [2, 2, 2, 1] of them, between a convolution and a fully
connected layer: 1 + 7 x 2 + 1 = 16 weighted layers, and the cut behind the stem and 4 blocks has
9 | 7 of them. The stem is 3x3, as for He et al.'s small images (sec. 4.2), with stride 2: smashed
data are then 128 x 7 x 7 float32, 25 088 bytes, and the paper computes with S(L) = .024 MB (sec.
4.4). Layers: C1, B1 .. B7, F1; the paper's cut is B4.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgenet.models.parts import Convolution, Layers, Linear, Maker, Shape, layer

PAPER_CUT = "B4"
"""Nine weighted layers stay with the client."""
_BLOCKS = (2, 2, 2, 1)
"""Blocks of each width: once, twice, four and eight times the stem's."""


class Block(nn.Module):
    """He et al. 2016's basic block: relu(skip(x) + norm(conv(relu(norm(conv(x)))))).

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: 2 halves height and width. Then, or where the number of channels changes, the skip
            connection is a 1x1 convolution with normalisation, else the input itself.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Convolution(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = Convolution(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            conv = Convolution(inputs, outputs, 1, stride, bias=False)
            self.skip = layer(conv=conv, norm=nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride)."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.skip(x) + self.norm2(self.conv2(y)))


def resnet(width: int) -> Maker:
    """ResNet-16 whose stem has `width` channels (He et al.: 64), its last block 8 x `width`."""

    def layers(shape: Shape, classes: int) -> Layers:
        stem = Convolution(shape[0], width, 3, stride=2, padding=1, bias=False)
        found = Layers(C1=layer(conv=stem, norm=nn.BatchNorm2d(width), relu=nn.ReLU()))
        inputs, number = width, 0
        for stage, blocks in enumerate(_BLOCKS):
            for block in range(blocks):
                number, outputs = number + 1, width * 2**stage
                stride = 2 if stage > 0 and block == 0 else 1
                found[f"B{number}"] = Block(inputs, outputs, stride)
                inputs = outputs
        pool, last = nn.AdaptiveAvgPool2d(1), Linear(inputs, classes)
        found["F1"] = layer(pool=pool, flatten=nn.Flatten(), linear=last)
        return found

    return layers


RESNETS: Mapping[str, Maker] = {
    "resnet-16": resnet(64),
    **{f"resnet-16-w{width}": resnet(width) for width in (32, 16, 8, 4)},
}
"""ResNet-16 at He et al.'s width, and narrower for machines that cannot train that many times."""
