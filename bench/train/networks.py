"""Small networks that map images to features in the plane."""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 2


class Network(nn.Module):
    """A body, followed by a linear layer that gives the features.

    Args:
        body: module that maps images ``[B, 1, H, W]`` to ``[B, width]``.
        width: number of outputs of the body.
    """

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body = body
        self.features = nn.Linear(width, FEATURES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features ``[B, 2]`` of ``images [B, 1, H, W]``."""
        features: Tensor = self.features(self.body(images))
        return features


class ResidualBlock(nn.Module):
    """Two convolutions with batch normalisation, added to a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = (
            nn.Identity()
            if (inputs, stride) == (outputs, 1)
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, outputs, H / stride, W / stride]`` for ``x [B, inputs, H, W]``."""
        return F.relu(self.path(x) + self.shortcut(x))


def lenet(side: int) -> Network:
    """Return a network of two convolution stages with PReLU; each stage halves the image."""
    body = nn.Sequential(
        *_stage(1, 16),
        *_stage(16, 32),
        nn.Flatten(),
        nn.Linear(32 * (side // 4) ** 2, 64),
        nn.PReLU(),
    )
    return Network(body, 64)


def _stage(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.PReLU(),
        nn.MaxPool2d(2),
    )


def resnet(side: int) -> Network:  # noqa: ARG001 - it takes any size
    """Return a residual network of three blocks, followed by the mean over the image."""
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        ResidualBlock(16, 16, 1),
        ResidualBlock(16, 32, 2),
        ResidualBlock(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return Network(body, 64)


NETWORKS: Mapping[str, Callable[[int], Network]] = {"lenet": lenet, "resnet": resnet}
