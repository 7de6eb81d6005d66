"""The authors' CIFAR-10 generator, netG_1200.pth, as a model of ours.

Their file is a pickled dict of tensors: `all_modules.N` are the layers in the order in which the network runs,
`z_transform.N` the mapping network of z, and distributed training may have put `module.` before every name. The network
is the UNet of unet.py at the paper's size. It knows a step by the index of its cleaner side, 0..3, which `IndexedUNet`
finds from the level. Apart from that only names differ, and attention has q, k and v as separate matrices, inputs x
outputs.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..diffusion.levels import Levels
from ..diffusion.schedule import Schedule
from ..errors import Refused
from . import checkpoint, registry
from .config import PRESETS
from .layers import Attention
from .unet import Down, UNet, Up

__all__ = ["CIFAR10", "convert", "slots"]

CIFAR10 = replace(PRESETS["cifar10-paper"], network="unet-indexed")
SHAPE = (3, 32, 32)
MADE = {
    "source": "https://github.com/NVlabs/denoising-diffusion-gan, published by the authors of the paper",
    "license": "NVIDIA Source Code License for Denoising Diffusion GAN: non-commercial",
    "metrics": {},
}
NAMES = {
    "norm": "GroupNorm_0", "norm_0": "GroupNorm_0", "norm_1": "GroupNorm_1", "conv_0": "Conv_0", "conv_1": "Conv_1",
    "skip": "Conv_2", "level": "Dense_0", "conv": "Conv2d_0",
}  # fmt: skip  # of the parts of a layer, ours -> theirs


@torch.no_grad()
def convert(path: Path, out: Path) -> None:
    """Write the generator in the authors' file as a model into the directory `out`; Refused for any other file."""
    checkpoint.check_free(out)
    with torch.device("meta"):
        denoiser = registry.new_generator(CIFAR10, SHAPE)
    assert isinstance(denoiser, UNet)  # which "unet-indexed" is
    denoiser.to_empty(device="cpu")
    data = _bytes(path, 4 * sum(p.numel() for p in denoiser.parameters()))
    state, places = _tensors(data, path), slots(denoiser)
    if strange := sorted(state.keys() ^ places.keys()):
        raise Refused(
            f"{path} is not the CIFAR-10 generator: it {'has' if strange[0] in state else 'lacks'} {strange[0]}"
        )
    for name, place in places.items():
        value = state[name]
        if (value.shape, value.dtype) != (place.shape, place.dtype):
            raise Refused(
                f"{path} is not the CIFAR-10 generator: {name} is {value.dtype} {tuple(value.shape)}, "
                f"wanted {place.dtype} {tuple(place.shape)}"
            )
        place.copy_(value)
    denoiser.levels = Levels(tuple(Schedule.vp(4).level(torch.arange(1, 5)).tolist()), continuous=False)
    made = {**MADE, "source_sha256": hashlib.sha256(data).hexdigest()}
    checkpoint.save(out, denoiser, CIFAR10, shape=SHAPE, made=made)


def slots(network: UNet) -> dict[str, Tensor]:
    """Where their tensors go: their name -> a view, of their shape, into the weights of our network."""
    places: dict[str, Tensor] = {}
    for n, layer in enumerate(_layers(network)):
        if isinstance(layer, Attention):
            kept = layer.state_dict()
            weights, biases = ((*kept[f"qkv.{kind}"].chunk(3), kept[f"out.{kind}"]) for kind in ("weight", "bias"))
            for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
                places |= {f"all_modules.{n}.NIN_{i}.W": weight[:, :, 0, 0].T, f"all_modules.{n}.NIN_{i}.b": bias}
        for name, value in layer.state_dict().items():
            part, *rest = name.split(".")
            if part not in ("qkv", "out"):
                places[".".join(["all_modules", str(n), NAMES.get(part, part), *rest])] = value
    for name, value in network.mapping.state_dict().items():
        number, kind = name.split(".")
        places[f"z_transform.{int(number) + 1}.{kind}"] = value  # theirs begins with the normalisation of z
    return places


def _layers(network: UNet) -> Iterator[nn.Module]:
    """Our layers in the order of their list."""
    yield from (network.level[0], network.level[2], network.first)
    for stage in network.down:
        assert isinstance(stage, Down)
        for block, attention in zip(stage.blocks, stage.attention, strict=True):
            yield block
            if isinstance(attention, Attention):
                yield attention
        if stage.shrink and stage.pyramid:
            yield from (stage.shrink, stage.pyramid)
    yield from network.middle
    for stage in network.up:
        assert isinstance(stage, Up)
        yield from stage.blocks
        if isinstance(stage.attention, Attention):
            yield stage.attention
        if stage.stretch:
            yield stage.stretch
    yield from (network.norm, network.last)


def _bytes(path: Path, expected: int) -> bytes:
    """The file, if its size is that of so many bytes of weights and a little around them."""
    try:
        size = path.stat().st_size
        if not 0 <= size - expected <= 2**20:
            raise Refused(
                f"{path} has {size:,} bytes, wanted the CIFAR-10 generator, netG_1200.pth, of about {expected:,}"
            )
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror})") from error


def _tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without `module.`; code in it is refused, not run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the sentence below says it
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return {name.removeprefix("module."): value.detach() for name, value in state.items()}
    except Exception as error:  # there is no end to what an unpickler makes of a foreign file
        raise Refused(f"{path} is not a checkpoint of tensors by name, or is damaged") from error
