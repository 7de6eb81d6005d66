"""What can be trained: frozen configurations, and the one table of presets.

A `Config` says everything that a run depends on but its hardware. It travels as JSON in the card of every model, and
`Config.from_dict` reads it back, refusing what it does not know.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..errors import Refused

__all__ = ["PRESETS", "Config", "preset", "suited"]


CRITERIA = {"regression": "least squares", "mixture": "likelihood", "consistency": "pseudo-Huber"}


@dataclass(frozen=True)
class Config:
    """One training run. Refused, in a sentence, for a value out of its range."""

    data: str  # a toy's name, a table of points (tables.py), an image set's name, or a folder, zip or archive of images
    objective: str = "ddgan"  # ddgan | regression; points: mixture | consistency
    T: int | None = None  # steps of the vp schedule to train for; None: any number of steps and any schedule
    # the share of training pairs whose target is clean data; for any T, of those alone that say so: see Anywhere
    clean: float = 0.6
    # points: skip (starts from a posterior draw) | plain (the paper's), plain-g, plain-d (G or D alone) | v, eps,
    # plain-eps (they predict that); mixture and flow, which have no discriminator; images: unet-draw | unet
    network: str = "skip"
    width: int = 96
    depth: int = 3  # hidden layers; for images, residual blocks a resolution
    multipliers: tuple[int, ...] = ()  # images only: the width of every resolution, in units of `width`
    patch: int = 1  # images only: 2 folds 2 x 2 pixels into channels
    d_width: int = 0  # the discriminator's width; 0: as the generator's
    latent_dim: int = 2
    loss: str = "r1r2"  # r1r2 | paper | rpgan | rpgan-exact | wgan-gp: see losses.py
    gamma: float = 0.02  # weight of the gradient penalty
    anneal: float = 1.0  # gamma's share that is left at the end of the run; it falls by the same factor in equal times
    every: int = 1  # updates from one penalty to the next
    lr_g: float = 4e-3
    lr_d: float = 4e-3
    decay: str = "late"  # of the learning rates: late (constant for half the run, then linear) | cosine (the paper's)
    ema: float = 0.001  # the moving average's slowest rate: it looks back 1 / ema updates
    # the rate of a second average, and the better one is kept; 0: none. They are equal up to ema^-1.25 updates
    ema_long: float = 0.0
    batch: int = 512
    accumulate: int = 1  # parts of a batch whose gradients are added up: as little memory as the parts need
    flip: bool = False  # images only: half of them mirrored
    classes: int | None = 0  # images only: how many classes both players are told of; None: as many as the images have
    unlabelled: float = 0.1  # the share of pairs whose class neither is told, so that both know "any" too
    steps: int = 12_000
    seed: int = 0
    init: str = ""  # a model whose weights the run begins with: a shipped one's name, or a directory

    CHOICES = {
        "objective": ("ddgan", "regression", "mixture", "consistency"),
        "network": (
            "skip", "plain", "plain-g", "plain-d", "v", "eps", "plain-eps", "mixture", "flow", "unet", "unet-draw",
            "unet-indexed",
        ),
        "loss": ("r1r2", "paper", "rpgan", "rpgan-exact", "wgan-gp"),
        "decay": ("late", "cosine"),
    }  # fmt: skip
    BOUNDS = {
        "T": (1, 1000), "width": (1, 1024), "depth": (1, 8), "patch": (1, 4), "d_width": (0, 1024),
        "latent_dim": (0, 65_536), "gamma": (0, 100), "every": (1, 1000), "clean": (0, 1), "anneal": (1e-3, 1),
        "ema_long": (0, 1), "classes": (0, 10_000), "unlabelled": (0, 1), "lr_g": (0, 1), "lr_d": (0, 1),
        "ema": (1e-6, 1), "batch": (1, 65_536), "accumulate": (1, 1024), "steps": (1, 10**9), "seed": (0, 2**31 - 1),
    }  # fmt: skip

    def __post_init__(self) -> None:
        for name, allowed in self.CHOICES.items():
            if getattr(self, name) not in allowed:
                raise Refused(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name, (low, high) in self.BOUNDS.items():
            value = getattr(self, name)
            if name in ("T", "classes") and value is None:
                continue
            whole = name not in ("clean", "gamma", "anneal", "lr_g", "lr_d", "ema", "ema_long", "unlabelled")
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise Refused(f"{name} must be a {'whole ' if whole else ''}number, got {value!r}")
            if not low <= value <= high:
                raise Refused(f"{name} must be in {low}..{high}, got {value!r}")
        for name in ("data", "init"):
            if not isinstance(getattr(self, name), str):
                raise Refused(f"{name} must be a name, got {getattr(self, name)!r}")
        if not isinstance(self.flip, bool):
            raise Refused(f"flip must be true or false, got {self.flip!r}")
        object.__setattr__(self, "multipliers", _multipliers(self.multipliers))

    @property
    def criterion(self) -> str:
        """What is minimised, in a word."""
        return CRITERIA.get(self.objective, self.loss)

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can hold them."""
        return {**asdict(self), "multipliers": list(self.multipliers)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """The config of such a dict; Refused for a key that is not a field, or a missing `data`."""
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise Refused(f"a config has no field {sorted(unknown)[0]!r}")
        if "data" not in values:
            raise Refused("a config needs the field 'data'")
        return cls(**values)

    def difference(self, other: Config) -> dict[str, tuple[Any, Any]]:
        """The fields that differ: name -> (own, other)."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


def _multipliers(values: Any) -> tuple[int, ...]:
    if (
        not isinstance(values, (tuple, list))
        or len(values) > 6
        or any(type(v) is not int or not 1 <= v <= 16 for v in values)
    ):
        raise Refused(f"multipliers must be at most 6 whole numbers in 1..16, got {str(values)[:40]}")
    return tuple(values)


def suited(gan: Config, objective: str) -> Config:
    """The config that trains another objective on a DDGAN's data, by a network of about the same size or less.

    Refused for images where the objective is of points.
    """
    images = gan.network.startswith("unet")
    if images and objective in ("mixture", "consistency"):
        raise Refused(f"the {objective} objective is for points, whose law is known: {gan.data} is of images")
    match objective:
        case "regression" if gan.network == "skip":
            return Config(gan.data, objective, clean=0.5, network="v", latent_dim=0, steps=24_000)
        case "regression":
            return replace(gan, objective=objective, latent_dim=0)
        case "mixture":
            width, latent_dim = gan.width * 4 // 5, 1 + gan.latent_dim  # its last layer is larger
            return Config(gan.data, objective, network="mixture", width=width, latent_dim=latent_dim, steps=12_000)
        case "consistency":
            return Config(gan.data, objective, network="flow", width=gan.width, latent_dim=0, steps=24_000)
    return gan


def _all(gan: Config, name: str = "") -> dict[str, Config]:
    """A DDGAN and what it is held against: the learned Gaussian, and for points the two rivals."""
    name = name or gan.data
    others = ("regression",) if gan.network.startswith("unet") else ("regression", "mixture", "consistency")
    return {name: gan, **{f"{name}-{objective}": suited(gan, objective) for objective in others}}


def _modes(name: str) -> Config:
    """Where mass sits in a few small spots, sharpness at the last step counts most."""
    return Config(name, width=128, clean=0.7, steps=60_000)


def _curve(name: str) -> Config:
    """Where mass is spread along lines, its balance counts more than sharpness: slower, more strongly regularised."""
    return Config(name, clean=0.5, width=128, gamma=0.04, lr_g=2e-3, lr_d=2e-3, steps=60_000)


def _images(name: str, **values: Any) -> Config:
    """Small enough for hours on a CPU: a 2 x 2 patch stem and one block a resolution."""
    small = Config(
        name, network="unet-draw", depth=1, patch=2, batch=64, steps=20_000,
        loss="rpgan-exact", gamma=0.05, every=8, lr_g=5e-4, lr_d=1e-3,
    )  # fmt: skip
    return replace(small, **values)


_CIFAR10 = _images(
    "cifar10", clean=0.5, width=48, multipliers=(1, 2, 2), latent_dim=3 * 32 * 32, flip=True, steps=16_000
)
_CIFAR10_PAPER = _images(
    "cifar10", T=4, clean=0.25, network="unet", width=128, depth=2, multipliers=(1, 2, 2, 2), patch=1, latent_dim=100,
    loss="paper", gamma=0.02, every=15, lr_g=1.6e-4, lr_d=1.25e-4, decay="cosine", ema=1e-4, batch=256, flip=True,
    steps=400_000,
)  # fmt: skip

# A data set's name is its DDGAN; NAME-regression the learned Gaussian denoiser, and of points NAME-mixture a mixture
# density network and NAME-consistency a consistency model; -live is the one to watch as it learns, -paper the paper's
# own recipe, as far as it is published.
PRESETS: dict[str, Config] = {
    **_all(_modes("25-gaussians")),
    **_all(_modes("25-unequal")),
    **_all(replace(_modes("8-gaussians"), gamma=0.005)),  # modes further apart: sharper jumps between them
    **_all(_curve("two-moons")),
    **_all(_curve("swiss-roll")),
    **_all(_curve("checkerboard")),
    **_all(_curve("pinwheel")),
    **_all(_curve("rings")),
    **_all(Config("4-gaussians-1d", clean=0.5, latent_dim=1)),
    **_all(_images("mnist", clean=0.5, width=48, multipliers=(1, 2), d_width=32, latent_dim=28 * 28)),
    **_all(_CIFAR10),
    **_all(_images("stackedmnist", clean=0.5, width=48, multipliers=(1, 2), latent_dim=3 * 28 * 28)),
    # the same for a GPU: 11.1M parameters, which a CPU would train for weeks. With the rates above, and batches of
    # 256, losses of the small one were no longer finite after some 10,000 updates
    **_all(
        replace(_CIFAR10, width=80, depth=2, batch=256, gamma=0.1, lr_g=3e-4, lr_d=4e-4, ema=2e-4, steps=60_000),
        "cifar10-large",
    ),
    "cifar10-paper": _CIFAR10_PAPER,
    "25-gaussians-live": Config("25-gaussians", T=4, width=64, batch=256, gamma=0.01, ema=0.005, steps=4_000),
    "25-gaussians-paper": Config(
        "25-gaussians", T=4, clean=0.25, network="plain", width=512, loss="paper", lr_g=2e-4, lr_d=2e-4, steps=50_000
    ),
}


def preset(name: str) -> Config:
    """The preset of this name; Refused lists the names."""
    if name not in PRESETS:
        raise Refused(f"the preset must be one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]
