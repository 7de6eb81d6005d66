"""Denoising Diffusion GANs, small and exact.

    from ddgan import Draws, Schedule, load, sample, toy

    law = toy("25-gaussians")                          # exact: law.marginal, law.denoised, law.reverse
    denoiser = load("25-gaussians")                    # a shipped DDGAN, for any T up to 50
    draws = Draws.from_seeds(range(1000), shape=law.shape, T=4, latent_dim=denoiser.latent_dim)
    *_, last = sample(Schedule.vp(4), denoiser, draws) # last.x_s: (1000, 2); every step is a record

A `Denoiser` draws x_0 given x_t; `reverse_step` turns it into x_s; `train` yields a record an update; a `Request`
names a whole picture. Start reading at schedule.py, then mixture.py, denoiser.py, sampler.py, trainer.py.
"""

from .checkpoint import load
from .config import PRESETS, Config, preset
from .data import TOYS, from_points, toy
from .denoiser import Denoiser, ExactDenoiser, GaussianDenoiser, Levels, MeanDenoiser
from .gaussian import Gaussian
from .images import ImageSet, load_images
from .metrics import Coverage, coverage, sliced_w2, width
from .mixture import Law, Mixture
from .request import Request
from .sampler import Draws, Step, draw, reverse_step, sample
from .schedule import Schedule
from .session import Session
from .trainer import Adversarial, Anywhere, Consecutive, Regression, TrainStep, train

__all__ = [
    "PRESETS",
    "TOYS",
    "Adversarial",
    "Anywhere",
    "Config",
    "Consecutive",
    "Coverage",
    "Denoiser",
    "Draws",
    "ExactDenoiser",
    "Gaussian",
    "GaussianDenoiser",
    "ImageSet",
    "Law",
    "Levels",
    "MeanDenoiser",
    "Mixture",
    "Regression",
    "Request",
    "Schedule",
    "Session",
    "Step",
    "TrainStep",
    "coverage",
    "draw",
    "from_points",
    "load",
    "load_images",
    "preset",
    "reverse_step",
    "sample",
    "sliced_w2",
    "toy",
    "train",
    "width",
]
