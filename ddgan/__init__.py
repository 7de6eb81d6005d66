"""Denoising Diffusion GANs, small and exact.

    from ddgan import Draws, Schedule, load, sample, toy

    law = toy("25-gaussians")                          # exact: law.marginal, law.denoised, law.reverse
    denoiser = load("25-gaussians")                    # a shipped DDGAN, for any T up to 50
    draws = Draws.from_seeds(range(1000), shape=law.shape, T=4, latent_dim=denoiser.latent_dim)
    *_, last = sample(Schedule.vp(4), denoiser, draws) # last.x_s: (1000, 2); every step is a record

A `Denoiser` draws x_0 given x_t; `reverse_step` turns it into x_s; `train` yields a record an update; a `Request`
names a whole picture. Start reading at diffusion/schedule.py, then mixture.py, denoiser.py and sampler.py beside it,
and training/trainer.py. README.md beside this file says more.
"""

from .data.images import ImageSet, load_images
from .data.points import from_points
from .data.toys import TOYS, toy
from .diffusion.denoiser import Denoiser, ExactDenoiser, GaussianDenoiser, MeanDenoiser
from .diffusion.flow import FlowDenoiser
from .diffusion.gaussian import Gaussian
from .diffusion.gaussianity import bound, optimal
from .diffusion.levels import Levels
from .diffusion.mixture import Law, Mixture
from .diffusion.sampler import Draws, draw, sample
from .diffusion.schedule import Schedule
from .diffusion.solver import DDIM, DPM, Ancestral, Flow, Heun, Renoise, Solver, Step, reverse_step
from .errors import Refused
from .explorer.request import Request
from .explorer.session import Session
from .metrics.energy import energy, energy_distance
from .metrics.points import Coverage, coverage, sliced_w2, width
from .models.checkpoint import load
from .models.config import PRESETS, Config, preset
from .training.pairs import Anywhere, Consecutive
from .training.run import fit
from .training.trainer import Adversarial, Regression, TrainStep, train

__version__ = "0.6.0"

__all__ = [
    "DDIM",
    "DPM",
    "PRESETS",
    "TOYS",
    "Adversarial",
    "Ancestral",
    "Anywhere",
    "Config",
    "Consecutive",
    "Coverage",
    "Denoiser",
    "Draws",
    "ExactDenoiser",
    "Flow",
    "FlowDenoiser",
    "Gaussian",
    "GaussianDenoiser",
    "Heun",
    "ImageSet",
    "Law",
    "Levels",
    "MeanDenoiser",
    "Mixture",
    "Refused",
    "Regression",
    "Renoise",
    "Request",
    "Schedule",
    "Session",
    "Solver",
    "Step",
    "TrainStep",
    "bound",
    "coverage",
    "draw",
    "energy",
    "energy_distance",
    "fit",
    "from_points",
    "load",
    "load_images",
    "optimal",
    "preset",
    "reverse_step",
    "sample",
    "sliced_w2",
    "toy",
    "train",
    "width",
]
