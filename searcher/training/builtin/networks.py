"""Networks of the built-in tasks that are more than a row of layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv_bn(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution and batch normalization: `[n, inputs, h, w]` to `[n, outputs, h / stride, ...]`."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs)
    )


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalization, added to their input (He et al., arXiv:1512.03385).

    Where the shape changes, the shortcut is the paper's option A, which has no parameters: every second pixel, and
    zeros for the channels that are new.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_bn(inputs, outputs, stride)
        self.second = conv_bn(outputs, outputs)
        self.stride = stride
        self.new_channels = outputs - inputs

    def forward(self, image: Tensor) -> Tensor:
        out = self.second(functional.relu(self.first(image)))
        kept = image[:, :, :: self.stride, :: self.stride]
        shortcut = functional.pad(kept, (0, 0, 0, 0, 0, self.new_channels))
        return functional.relu(out + shortcut)


def resnet(blocks: int, channels: int, classes: int, widths: Sequence[int] = (16, 32, 64)) -> nn.Sequential:
    """He et al.'s network for small images, section 4.2: `2 * len(widths) * blocks + 2` layers with weights.

    ResNet-56 is `blocks=9`. Input `[n, channels, h, w]`; each width but the first halves h and w.
    """
    layers: list[nn.Module] = [conv_bn(channels, widths[0]), nn.ReLU()]
    for stage, width in enumerate(widths):
        before = widths[max(stage - 1, 0)]
        layers.append(BasicBlock(before, width, stride=1 if stage == 0 else 2))
        layers.extend(BasicBlock(width, width) for _ in range(blocks - 1))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


class Residual(nn.Module):
    """What a branch makes of its input, added to the input."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = image + self.branch(image)
        return out


def resnet9(classes: int) -> nn.Sequential:
    """The ResNet-9 of D. Page's "How to train your ResNet" (2018). Input `[n, 3, 32, 32]`."""

    def unit(inputs: int, outputs: int) -> list[nn.Module]:
        return [conv_bn(inputs, outputs), nn.ReLU()]

    return nn.Sequential(
        *unit(3, 64),
        *unit(64, 128),
        nn.MaxPool2d(2),  # [n, 128, 16, 16]
        Residual(nn.Sequential(*unit(128, 128), *unit(128, 128))),
        *unit(128, 256),
        nn.MaxPool2d(2),  # [n, 256, 8, 8]
        *unit(256, 512),
        nn.MaxPool2d(2),  # [n, 512, 4, 4]
        Residual(nn.Sequential(*unit(512, 512), *unit(512, 512))),
        nn.MaxPool2d(4),  # [n, 512, 1, 1]
        nn.Flatten(),
        nn.Linear(512, classes, bias=False),
        Scale(0.125),
    )


class Scale(nn.Module):
    """Multiplies by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: Tensor) -> Tensor:
        return values * self.factor


def lenet() -> nn.Sequential:
    """Caffe's LeNet, which 1803.09820 trains on MNIST. Input `[n, 1, 28, 28]`."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),  # [n, 20, 24, 24]
        nn.MaxPool2d(2),  # [n, 20, 12, 12]
        nn.Conv2d(20, 50, 5),  # [n, 50, 8, 8]
        nn.MaxPool2d(2),  # [n, 50, 4, 4]
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )


class Standardize(nn.Module):
    """Bytes `[n, c, h, w]` to floats, with the mean and deviation that each channel has in values from 0 to 1.

    Part of the model, so that the images can stay on the device as bytes, a quarter of the memory.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images.float() / 255 - self.mean) / self.deviation


class ShiftAndFlip(nn.Module):
    """The usual augmentation of small photographs, while training: padded by 4, cut out at random, half mirrored.

    Every image is moved and mirrored on its own, by torch's generator, so it follows from the trial's seed.
    """

    def __init__(self, padding: int = 4) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, images: Tensor) -> Tensor:  # [n, c, h, w]
        if not self.training:
            return images
        n, _, height, width = images.shape
        device = images.device
        padded = functional.pad(images, (self.padding,) * 4)
        down, right = torch.randint(2 * self.padding + 1, (2, n, 1), device=device)  # [n, 1] each
        rows = down + torch.arange(height, device=device)  # [n, h]
        columns = right + torch.arange(width, device=device)  # [n, w]
        mirrored = torch.rand(n, 1, device=device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
        sample = torch.arange(n, device=device)
        # Indexed by [n, 1, 1], [n, h, 1] and [n, 1, w] around the slice of channels, the result is [n, h, w, c].
        cut = padded[sample[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return cut.permute(0, 3, 1, 2)


class Transformer(nn.Module):
    """A decoder that predicts the next character: `[n, length]` of symbols to `[n, symbols, length]` of logits.

    Pre-normalized blocks as in GPT-2: attention to what came before, and a perceptron four times as wide.
    """

    def __init__(self, symbols: int, length: int, *, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.symbol = nn.Embedding(symbols, width)
        self.position = nn.Parameter(torch.zeros(length, width))
        self.blocks = nn.Sequential(
            *(nn.Sequential(Residual(Attention(width, heads)), Residual(_perceptron(width))) for _ in range(blocks))
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, symbols))

    def forward(self, text: Tensor) -> Tensor:
        hidden = self.blocks(self.symbol(text) + self.position)  # [n, length, width]
        logits: Tensor = self.head(hidden)  # [n, length, symbols]
        return logits.transpose(1, 2)


class Attention(nn.Module):
    """Causal self-attention of several heads: `[n, length, width]` to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.heads = heads

    def forward(self, hidden: Tensor) -> Tensor:
        n, length, width = hidden.shape
        three = self.queries_keys_values(self.norm(hidden)).view(n, length, 3, self.heads, width // self.heads)
        query, key, value = three.permute(2, 0, 3, 1, 4)  # [n, heads, length, width / heads] each
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(n, length, width))
        return out


def _perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
