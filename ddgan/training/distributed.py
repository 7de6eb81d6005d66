"""Several processes training one model: each takes its share of every batch, all take the mean of the gradients.

Every rank draws the noise of the whole batch and keeps its part, so the number of processes does not change what is
learned, up to rounding. Without `torchrun` there is one rank, and everything here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed

__all__ = ["agree", "average", "join", "mine", "rank"]


def join() -> None:
    """Join the processes that `torchrun` started, if it did: nccl between GPUs, gloo between CPUs."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def rank() -> int:
    """Which of the processes this is; rank 0 writes and prints."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def mine(x: Tensor) -> Tensor:
    """This rank's part of a batch: one run of items, as long as everybody's. ValueError where it cannot be shared evenly."""
    if not distributed.is_initialized():
        return x
    world = distributed.get_world_size()
    if len(x) % world:
        raise ValueError(f"a batch of {len(x)} cannot be shared evenly by {world} processes")
    return x.chunk(world)[rank()]


def average(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over all ranks."""
    if not distributed.is_initialized():
        return
    tensors = list(tensors)
    flat = torch.cat([v.flatten() for v in tensors])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for v, mean in zip(tensors, flat.split([v.numel() for v in tensors]), strict=True):
        v.copy_(mean.view_as(v))


def agree(value: float) -> float:
    """What rank 0 says: clocks differ, and all have to stop after the same update."""
    if not distributed.is_initialized():
        return value
    said = torch.tensor(value, dtype=torch.float64, device="cuda" if torch.cuda.is_available() else "cpu")
    distributed.broadcast(said, 0)
    return float(said)
