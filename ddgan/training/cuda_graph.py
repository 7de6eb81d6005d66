"""Steps that a CUDA device is given as a whole.

An update of small networks is many hundred short kernels, which take Python several times longer to launch one by one
than a GPU takes to run. A CUDA graph records them once; from then on one launch repeats them all, on whatever its
input and the weights hold by then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

__all__ = ["Recorded"]

Losses = dict[str, Tensor]


class Recorded:
    """`step(x_0, label, noise)`, recorded on a CUDA device after `FIRST` calls that run as they are.

    The step must not look at the device's numbers, nor allocate anything that outlives it but in its first calls.
    Noise is drawn anew at every call, the same that the step itself would draw. What is returned is overwritten by the
    next call.
    """

    FIRST = 3  # calls in which kernels are compiled, and optimisers allocate what they keep

    def __init__(self, step: Callable[[Tensor, Tensor, torch.Generator], Losses]) -> None:
        self.step, self.stream = step, _aside()
        self.noise: torch.Generator | None = None

    def __call__(self, x_0: Tensor, label: Tensor, noise: torch.Generator) -> Losses:
        if noise is not self.noise:  # a recording draws from one generator
            self.noise, self.calls = noise, 0
        self.calls += 1
        if self.calls <= self.FIRST:
            return self._apart(x_0, label, noise)
        if self.calls == self.FIRST + 1:
            self._record(x_0, label, noise)
        self.x_0.copy_(x_0)
        self.label.copy_(label)
        self.graph.replay()
        return self.losses

    def _apart(self, x_0: Tensor, label: Tensor, noise: torch.Generator) -> Losses:
        """The step as it is, on the stream of the recording: gradients are bound to the stream of their first use."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            losses = self.step(x_0, label, noise)
        torch.cuda.current_stream().wait_stream(self.stream)
        return losses

    def _record(self, x_0: Tensor, label: Tensor, noise: torch.Generator) -> None:
        self.graph, self.x_0, self.label = torch.cuda.CUDAGraph(), torch.empty_like(x_0), torch.empty_like(label)
        self.graph.register_generator_state(noise)
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.losses = self.step(self.x_0, self.label, noise)


@cache
def _aside() -> torch.cuda.Stream:
    """A stream for all recordings: what is under way on the default one would break in."""
    return torch.cuda.Stream()
