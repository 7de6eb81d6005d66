"""What to watch as it learns, for some 15 seconds: name -> (config, what one sees, and why)."""

from __future__ import annotations

from dataclasses import replace

from ..models.config import PRESETS, Config, suited

__all__ = ["EXPERIMENTS"]

_LIVE = replace(PRESETS["25-gaussians-live"], steps=10**9)  # the clock ends it
EXPERIMENTS: dict[str, tuple[Config, str]] = {
    "Works: T = 4": (
        _LIVE,
        "Within seconds it has all 25 modes and nine samples in ten on one, more by the end: z chooses among the "
        "modes that x<sub>t</sub> allows.",
    ),
    "Works: any T": (
        replace(_LIVE, T=None),
        "One network for any number of steps: it learns noise of every level, a little more slowly than one that "
        "needs four.",
    ),
    "Fails: no z": (
        replace(_LIVE, latent_dim=0),
        "Without z an x<sub>t</sub> has one answer, even where several modes are possible: half of the "
        "samples or more end between them.",
    ),
    "Fails: no z, T = 1": (
        replace(_LIVE, latent_dim=0, T=1),
        "In a real pair x₀ hardly depends on x₁; in a fake one it is a function of x₁, and D sees that. So the cloud "
        "shrinks, and hardly a sample lands on a mode.",
    ),
    "Fails: T = 1, plain networks": (
        replace(_LIVE, T=1, network="plain"),
        "Without Fourier features of the points, one step misses modes, and many samples lie between. Networks with "
        "a head start need no more than one.",
    ),
    "Rival: a mixture, by likelihood": (
        replace(suited(_LIVE, "mixture"), T=4, batch=256, ema=0.005, steps=10**9),
        "Likelihood fits 32 Gaussians to x₀ given x<sub>t</sub>. All modes come within seconds, with hardly a sample "
        "off them: on a plane, that is enough.",
    ),
    "Rival: consistency, one step": (
        replace(suited(_LIVE, "consistency"), T=1, batch=256, ema=0.005, steps=10**9),
        "It has no z and no adversary: regression on the law's exact flow makes x₀ a function of x₁. One step finds "
        "every mode; fewer and fewer samples land between.",
    ),
    "Uneven: no R2": (
        replace(_LIVE, loss="paper"),
        "R1 holds D's slope down at the data only. G finds every mode, but gives some several times the samples of "
        "others.",
    ),
    "Uneven: no penalty": (
        replace(_LIVE, gamma=0.0),
        "Nothing holds D's slope down: G follows it to all modes, but less exactly and in shares more unequal "
        "than with γ.",
    ),
    "Late: rates ten times higher": (
        replace(_LIVE, lr_g=4e-2, lr_d=4e-2),
        "The two players overshoot, and nothing is on a mode until the rates fall, in the second half of the run.",
    ),
    "Slow: the paper's networks, low rates": (
        replace(PRESETS["25-gaussians-paper"], clean=Config.clean, steps=10**9),
        "This recipe takes 50,000 updates of networks 512 wide. A CPU makes a few a second, so the cloud is still a "
        "blur at the end.",
    ),
}
