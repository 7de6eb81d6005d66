"""Several processes training one model: each takes its share of every batch, all take the mean of the gradients.

Every rank draws the noise of the whole batch and keeps its part, so the number of processes does not change what is
learned, up to rounding. Without `torchrun` there is one rank, and everything here does nothing.

No rank leaves before the others have come to their end: rank 0 judges for minutes what was learned, and a process that
ends while the group still has threads may be aborted, at which `torchrun` stops all the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed

from ..errors import Refused

__all__ = ["agree", "average", "joined", "mine", "rank"]

PATIENCE = timedelta(days=1)  # that ranks wait for the last one, after training


@contextmanager
def joined() -> Iterator[None]:
    """One group of the processes that `torchrun` started, if it did, until the last of them leaves the block.

    Between GPUs it is nccl, between CPUs gloo. A rank that fails leaves at once: `torchrun` then stops the others.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        # nccl would wait on the GPU, and for minutes only
        end = distributed.new_group(backend="gloo", timeout=PATIENCE)
        yield
        with _heard():
            distributed.barrier(end)
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Which of the processes this is; rank 0 writes and prints."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def mine(x: Tensor) -> Tensor:
    """This rank's part of a batch: one run of items, as long as everybody's. Refused where shares would differ."""
    if not distributed.is_initialized():
        return x
    world = distributed.get_world_size()
    if len(x) % world:
        raise Refused(f"a batch of {len(x)} cannot be shared evenly by {world} processes")
    return x.chunk(world)[rank()]


def average(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over all ranks."""
    if not distributed.is_initialized():
        return
    tensors = list(tensors)
    flat = torch.cat([v.flatten() for v in tensors])
    with _heard():
        distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for v, mean in zip(tensors, flat.split([v.numel() for v in tensors]), strict=True):
        v.copy_(mean.view_as(v))


def agree(value: float) -> float:
    """What rank 0 says: clocks differ, and all have to stop after the same update."""
    if not distributed.is_initialized():
        return value
    said = torch.tensor(value, dtype=torch.float64, device="cuda" if torch.cuda.is_available() else "cpu")
    with _heard():
        distributed.broadcast(said, 0)
    return float(said)


@contextmanager
def _heard() -> Iterator[None]:
    """Ranks speak to each other inside; ConnectionError, in one sentence, where one of them is gone."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError("another process of this training has ended: what it said tells why") from error
