"""Two objectives without a discriminator, for points: what a DDGAN is held against.

    Likelihood    -log p(x_0 | x_t) of a mixture density network: many modes, without an adversary
    Consistency   x_0 = Phi_{t -> 0}(x_t), the exact flow of the law of the data, as a function of x_t: no z at all

`Likelihood` is at its least, the entropy of q(x_0 | x_t), where p is q. `Consistency` is distillation with a perfect
teacher: Song et al., "Consistency Models", ICML 2023, learn the same map from a learned mean, or from data alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..diffusion.denoiser import Denoiser
from ..diffusion.flow import carried
from ..diffusion.mixture import Law
from ..errors import Refused
from ..models.mlp import MixtureDenoiser
from .losses import pseudo_huber
from .pairs import Pairs
from .trainer import Descent, Objective

__all__ = ["Consistency", "Likelihood", "Trajectories"]

PER_CHUNK = 100  # updates before there are trajectories of one more chunk: training can be watched from the start


class Likelihood(Objective):
    """-log p(x_0 | x_t) in nats, x_t at the levels that are drawn as t. Refused for another network than a mixture."""

    def __init__(self, generator: Denoiser, pairs: Pairs, *, lr: float = 4e-3, descent: Descent = Descent()) -> None:
        if not isinstance(generator, MixtureDenoiser):
            raise Refused("the mixture objective needs a density, which the network mixture alone has")
        super().__init__(generator, pairs, lr=lr, descent=descent)
        self.mixture = generator

    def _learn(self, x_0: Tensor, label: Tensor, noise: torch.Generator, players: tuple[str, ...]) -> dict[str, Tensor]:
        _, t, _, x_t = self._forward_pair(x_0, noise)

        def surprise(t: Tensor, x_t: Tensor, x_0: Tensor) -> Tensor:
            return -self.mixture.law(x_t, self.pairs.schedule.level(t, x_t)).log_prob(x_0).mean()

        return {"g": self.players["g"].descend(surprise, self.parts(t, x_t, x_0))}


class Trajectories:
    """Points (x_t, level, x_0 = Phi_{t -> 0}(x_t)) of the flow of a law, at levels that are drawn as t of `pairs`.

    Each of CHUNKS chunks has PATHS trajectories from x_T ~ N(0, I) at DRAWN levels of its own, and is a function of its
    number alone. They are made one by one, as they are asked for: together they take 3 to 20 s of one core.
    """

    CHUNKS = 32
    PATHS = 1024
    DRAWN = 16
    STEPS = 3  # of an integration from one level to the next

    def __init__(self, law: Law, pairs: Pairs) -> None:
        self.law, self.pairs, self.made = law, pairs, 0
        self.x_t = torch.empty(self.CHUNKS, self.DRAWN, self.PATHS, *law.shape)
        self.level = torch.empty(self.CHUNKS, self.DRAWN)
        self.x_0 = torch.empty(self.CHUNKS, self.PATHS, *law.shape)

    def reach(self, chunks: int) -> None:
        """Have so many chunks, or all."""
        for chunk in range(self.made, min(chunks, self.CHUNKS)):
            self._make(chunk)
            self.made = chunk + 1

    def _make(self, chunk: int) -> None:
        noise, schedule = torch.Generator().manual_seed(chunk), self.pairs.schedule
        t = self.pairs.draw(self.DRAWN, noise)[1].sort(descending=True).values
        x_t = torch.randn(self.PATHS, *self.law.shape, generator=noise, dtype=torch.float64)
        before, levels = schedule.level(schedule.T), schedule.level(t)
        for i, level in enumerate(levels.split(1)):
            if level > before:
                x_t = carried(self.law, x_t, before, level, self.STEPS)
            self.x_t[chunk, i], before = x_t, level
        self.level[chunk] = levels
        self.x_0[chunk] = carried(self.law, x_t, before, torch.full((1,), torch.inf), self.STEPS)

    def draw(self, n: int, noise: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """x_t (n, *D), levels (n,) and x_0 (n, *D), of the chunks that there are."""
        sizes = self.made, self.DRAWN, self.PATHS
        chunk, level, path = (torch.randint(size, (n,), generator=noise) for size in sizes)
        return self.x_t[chunk, level, path], self.level[chunk, level], self.x_0[chunk, path]


class Consistency(Objective):
    """Pseudo-Huber distance to Phi_{t -> 0}(x_t) of a law; of a batch of data only the size counts."""

    def __init__(
        self, generator: Denoiser, pairs: Pairs, law: Law, *, lr: float = 4e-3, descent: Descent = Descent()
    ) -> None:
        if generator.latent_dim:
            raise Refused(f"the consistency objective has no latent: latent_dim must be 0, got {generator.latent_dim}")
        super().__init__(generator, pairs, lr=lr, descent=descent)
        self.trajectories = Trajectories(law, pairs)

    def _learn(self, x_0: Tensor, label: Tensor, noise: torch.Generator, players: tuple[str, ...]) -> dict[str, Tensor]:
        self.trajectories.reach(1 + self.updates // PER_CHUNK)

        def error(x_t: Tensor, level: Tensor, x_0: Tensor) -> Tensor:
            return pseudo_huber(self.generator(x_t, level, x_t.new_zeros(len(x_t), 0)), x_0)

        return {"g": self.players["g"].descend(error, self.parts(*self.trajectories.draw(len(x_0), noise)))}
