"""What a request can ask for by name: a denoiser, and the solver that walks with it.

Denoisers of CLOSED are made from the law of the data, others are models by name. `method_of` is a method by any name, a
visitor's own model among them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..diffusion.denoiser import ExactDenoiser, GaussianDenoiser, LawDenoiser, MeanDenoiser
from ..diffusion.flow import FlowDenoiser
from ..diffusion.solver import ANCESTRAL, DDIM, DPM, Flow, Heun, Renoise, Solver

__all__ = ["CLOSED", "GROUPS", "METHODS", "Method", "method_of"]

CLOSED: dict[str, type[LawDenoiser]] = {
    "exact": ExactDenoiser,
    "gaussian": GaussianDenoiser,
    "mean": MeanDenoiser,
    "flow": FlowDenoiser,
}
GROUPS = ("Truth", "Learned", "Gaussian steps", "Solvers of the exact mean", "Solvers of the learned mean", "Own")


@dataclass(frozen=True)
class Method:
    """A way to take steps: its label, what it is in a few words, the `model` whose x_0 it uses, and the solver."""

    label: str
    words: str
    group: str
    model: str
    solver: Solver = ANCESTRAL

    def steps(self, T: int, budget: str | None) -> int:
        """How many steps it takes where T are asked for: as many, or with the budget "nfe" what T evaluations allow."""
        return max(k for k in range(1, T + 1) if self.solver.nfe(k) <= T) if budget == "nfe" else T

    @property
    def closed(self) -> bool:
        """Whether it needs nothing but the law of the data."""
        return self.model in CLOSED


# in the order in which panels stand, group by group
METHODS = {
    "exact": Method("Exact law", "draws x₀ from the true q(x₀|xₜ)", "Truth", "exact"),
    "flow": Method("Exact flow map", "the ideal consistency model: x₀ = Φ(xₜ), no z", "Truth", "flow", Flow()),
    "ddgan": Method("DDGAN", "learned, adversarial, multimodal", "Learned", "ddgan"),
    "official": Method("DDGAN, the paper's", "the authors' own weights, T = 4", "Learned", "official"),
    "mixture": Method("Learned mixture", "a mixture density network: likelihood, no adversary", "Learned", "mixture"),
    "consistency": Method("Consistency model", "learned flow map: x₀ of xₜ, no z", "Learned", "consistency", Renoise()),
    "gaussian": Method("Best Gaussian", "the true mean and covariance, no more", "Gaussian steps", "gaussian"),
    "regression": Method("Learned Gaussian (DDPM)", "learned by least squares: a mean", "Gaussian steps", "regression"),
    "mean": Method("Exact mean (DDPM)", "the true mean, no draw of x₀", "Gaussian steps", "mean"),
    "ddim": Method("DDIM", "the true mean, a deterministic walk", "Solvers of the exact mean", "mean", DDIM()),
    "dpm": Method("DPM-Solver++", "the true mean, second order, multistep", "Solvers of the exact mean", "mean", DPM()),
    "heun": Method(
        "Heun (EDM)", "the true mean, second order, two evaluations a step", "Solvers of the exact mean", "mean", Heun()
    ),
    "learned-ddim": Method(
        "DDIM, learned", "the learned mean, a deterministic walk", "Solvers of the learned mean", "regression", DDIM()
    ),
    "learned-dpm": Method(
        "DPM-Solver++, learned", "the learned mean, second order", "Solvers of the learned mean", "regression", DPM()
    ),
}


def method_of(name: str, eta: float = 0.0, objective: str = "") -> Method:
    """The method of this name; DDIM's with its eta. A visitor's model is walked with as its objective wants."""
    method = METHODS.get(name)
    if method is None:
        solver = Renoise() if objective == "consistency" else ANCESTRAL
        return Method("Your model", "trained here; who has its link has it too", "Own", name, solver)
    if not isinstance(method.solver, DDIM):
        return method
    words = method.words.replace("a deterministic walk", f"a walk with noise, η = {eta:g}") if eta else method.words
    return replace(method, solver=DDIM(eta), words=words)
