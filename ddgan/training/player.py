"""What an update is made of: a network with its Adam, a moving average, and the count of skipped steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..diffusion.denoiser import Denoiser
from . import distributed

__all__ = ["Average", "Overflows", "Player"]


class Overflows:
    """How many steps were skipped because a gradient overflowed, and in how many updates in a row the number grew."""

    def __init__(self, device: torch.device) -> None:
        self.count = torch.zeros((), dtype=torch.long, device=device)
        self.known, self.in_a_row = 0, 0

    def tally(self, count: int) -> None:
        """Take note of the number after an update."""
        self.known, self.in_a_row = count, self.in_a_row + 1 if count > self.known else 0

    def restore(self, count: int, in_a_row: int) -> None:
        """Stand where a saved run stood."""
        self.count.fill_(count)
        self.known, self.in_a_row = count, in_a_row


class Player:
    """A network and its Adam with a learning rate `lr`; `descend` makes one step."""

    def __init__(
        self, network: nn.Module, lr: float, betas: tuple[float, float], precision: torch.dtype, overflows: Overflows
    ) -> None:
        self.network, self.lr, self.precision, self.overflows = network, lr, precision, overflows
        self.device = overflows.count.device
        cuda = self.device.type == "cuda"
        rate = torch.tensor(lr, device=self.device) if cuda else lr  # a recorded step reads it from the device
        self.optimiser = torch.optim.Adam(network.parameters(), lr=rate, betas=betas, fused=True, capturable=cuda)

    def set_rate(self, share: float) -> None:
        """Train with this share of the learning rate from now on."""
        (group,) = self.optimiser.param_groups
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(self.lr * share)
        else:
            group["lr"] = self.lr * share

    def autocast(self) -> torch.autocast:
        """The arithmetic of the network."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def descend(self, loss: Callable[..., Tensor], parts: Iterable[Sequence[Any]]) -> Tensor:
        """One Adam step on the mean of the parts' losses, which is returned; no step where that is not finite.

        In low precision a gradient can overflow though the loss does not: such a step is skipped too, and counted.
        """
        parts, total = list(parts), torch.zeros((), device=self.device)
        self.optimiser.zero_grad(set_to_none=True)
        for part in parts:
            with self.autocast():
                value = loss(*part) / len(parts)
            value.backward()
            total += value.detach()
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        distributed.average([total, *gradients])
        finite = total.isfinite()
        if self.precision != torch.float32:
            small = torch.stack(torch._foreach_norm(gradients)).isfinite().all()
            self.overflows.count += finite & ~small
            finite = finite & small
        # what a torch.amp.GradScaler tells it
        self.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimiser.step()
        return total

    def state(self) -> dict[str, Tensor]:
        """What Adam keeps, as INDEX.SLOT -> tensor."""
        slots = self.optimiser.state_dict()["state"]
        return {f"{index}.{slot}": value for index, of in slots.items() for slot, value in of.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take up such a state."""
        slots: dict[int, dict[str, Tensor]] = {}
        weights = list(self.network.parameters())
        for key, value in state.items():
            index, slot = key.split(".")
            slots.setdefault(int(index), {})[slot] = _formatted(value, weights[int(index)])
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": slots})


class Average:
    """The moving average of a denoiser, avg <- avg + rate (network - avg).

    The rate falls as updates^-.8 from 1 to `slowest`. Buffers, such as a batch norm's, are the network's own.
    """

    def __init__(self, network: Denoiser, slowest: float) -> None:
        self.slowest, self.of = slowest, network
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def follow(self, updates: int) -> None:
        """Move towards the network, after so many updates of the objective."""
        rate = max(self.slowest, updates**-0.8)
        torch._foreach_lerp_(list(self.network.parameters()), list(self.of.parameters()), rate)
        for buffer, of in zip(self.network.buffers(), self.of.buffers(), strict=True):
            buffer.copy_(of)


def _formatted(value: Tensor, weight: Tensor) -> Tensor:
    """A copy of Adam's value in the weight's own memory format, which the fused Adam takes for granted."""
    return torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value.clone()
