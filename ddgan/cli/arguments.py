"""What can be said on the command line: the parser of every command."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any, NoReturn

from .. import evidence
from ..data.images import CACHE
from ..diffusion.schedule import FAMILIES
from ..errors import Refused
from ..explorer.methods import METHODS
from ..views import files

__all__ = ["parser"]

# what `train` may change of a preset
WHOLE = {
    "width": "hidden width, or channels at full resolution",
    "depth": "hidden layers, or blocks a resolution",
    "d-width": "width of D; 0: as wide as G",
    "patch": "images only: 2 folds each square of 2 x 2 pixels into channels",
    "latent-dim": "how many numbers z has; 0: the network has no z",
    "every": "a gradient penalty is computed at every so many updates",
    "batch": "samples in an update",
    "accumulate": "parts that a batch is cut into, to save memory",
    "steps": "how many updates",
    "seed": "seed of the first weights, of the order of the data and of the noise",
}
RATES = {
    "clean": "share of a batch's pairs whose target is clean data; with any T some more, whose target is nearly clean",
    "gamma": "weight of the gradient penalty",
    "anneal": "gamma falls over the run to this share of itself",
    "unlabelled": "share of a batch whose class is hidden from the networks",
    "lr-g": "learning rate of G",
    "lr-d": "learning rate of D",
    "ema": "rate of the moving average of the weights",
    "ema-long": "rate of a second moving average; the better one is kept. Both rates start at 1 and fall as "
    "updates^-.8: until the first has come down to --ema they are equal",
}
SIZE = "crop each image to its middle square and resize it to this many pixels"
THREADS = "cores to compute on (default 1); more are faster for images, if nothing else uses them"
OBJECTIVES = "ddgan, regression (the learned Gaussian), or of points mixture (a mixture density network), consistency"
COLUMNS = "which columns of a table are the coordinates: one or two names, or numbers from 1, like height,weight or 2,3"


class Parser(argparse.ArgumentParser):
    def __init__(self, **how: Any) -> None:
        super().__init__(**how, allow_abbrev=False)  # a slip must not pass for another option
        self._negative_number_matcher = re.compile(r"-\.?\d")  # -10,5 is a value too, as from Python 3.14 on

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    top = Parser(prog="python -m ddgan", description="Denoising Diffusion GANs, step by step.")
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser, metavar="COMMAND")
    for command in (
        _presets, _data, _train, _train_classifier, _adjust, _errors, _sampled, _import_official, _bench, _record,
        _evidence,
    ):  # fmt: skip
        command(commands)
    return top


def _presets(commands: Any) -> None:
    add = commands.add_parser("presets", help="list what can be trained")
    add.add_argument("--json", action="store_true", help="print one JSON object")


def _data(commands: Any) -> None:
    add = commands.add_parser("data", help="say what a set of images holds; download cifar10 or mnist if it is missing")
    add.add_argument("images", help="cifar10, mnist, stackedmnist, or the path of an archive, a folder or a zip")
    default = f"default {CACHE}" if CACHE else "needed: there is no home directory"
    words = "download cifar10 or mnist into this directory"
    add.add_argument("--out", type=Path, help=f"{words} ({default})")
    add.add_argument("--split", choices=("train", "test"), default="train", help="train or test")
    add.add_argument("--size", type=int, help=SIZE)


def _train(commands: Any) -> None:
    add = commands.add_parser("train", help="train a model and write it, with its card, to a directory")
    add.add_argument("preset", help="a preset's name, or a table (.csv, .tsv, .txt) of your own points")
    add.add_argument("--columns", help=COLUMNS)
    add.add_argument("--out", required=True, type=Path, help="directory of the run")
    add.add_argument("--T", type=int, help="train for exactly T steps; default: any number of steps")
    add.add_argument("--objective", help=OBJECTIVES)
    add.add_argument(
        "--data", help="an archive, a folder or a zip with the images; default: found by the preset's name"
    )
    add.add_argument("--size", type=int, help=SIZE)
    add.add_argument(
        "--network",
        help="points: skip, plain, plain-g, plain-d, v, eps, plain-eps, mixture, flow; images: unet-draw, unet; "
        "paper: plain, unet",
    )
    add.add_argument(
        "--loss", help="points: r1r2, paper, rpgan, rpgan-exact, wgan-gp; images: rpgan-exact, paper, wgan-gp"
    )
    add.add_argument("--decay", help="late or cosine: how the learning rates fall")
    add.add_argument(
        "--classes",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="images only: tell both networks the class of each",
    )
    add.add_argument("--init", help="start from the weights of a model: the name of a shipped model, or a directory")
    for name, words in WHOLE.items():
        add.add_argument(f"--{name}", type=int, help=words)
    for name, words in RATES.items():
        add.add_argument(f"--{name}", type=float, help=words)
    add.add_argument("--seconds", type=float, default=math.inf, help="stop after this many seconds of training")
    add.add_argument("--minutes", type=float, default=math.inf, help="the same in minutes; the shorter limit counts")
    add.add_argument("--threads", type=int, default=1, help=THREADS)
    add.add_argument("--resume", action="store_true", help="continue the run in --out")
    add.add_argument("--save-every", type=float, default=30.0, help="seconds between two saved states (default 30)")


def _train_classifier(commands: Any) -> None:
    add = commands.add_parser("train-classifier", help="train and write a classifier, which image metrics use")
    words = "labelled images: cifar10, mnist, an archive, a folder or a zip; without a test split a tenth is held out"
    add.add_argument("data", help=words)
    add.add_argument("--size", type=int, help=SIZE)
    add.add_argument("--out", required=True, type=Path, help="directory of the classifier")
    add.add_argument(
        "--width", type=int, default=32, help="channels at full resolution; 8 times as many features (default 32)"
    )
    add.add_argument("--epochs", type=int, default=16, help="default 16")
    add.add_argument("--noisy", action="store_true", help="train on x_t at every level of noise, and tell it the level")
    add.add_argument("--minutes", type=float, default=math.inf, help="stop after this many minutes of training")
    add.add_argument("--threads", type=int, default=1, help=THREADS)
    add.add_argument("--seed", type=int, default=0)


def _adjust(commands: Any) -> None:
    add = commands.add_parser(
        "adjust", help="write a model of images that draws otherwise with the same weights, and judge it"
    )
    add.add_argument("model", type=Path, help="name of a shipped model, the directory of a run, or a model's file")
    words = "variance of a DDGAN's z where x_t is noise, such as 1.5: recall rises, precision falls (default: as it is)"
    add.add_argument("--spread", type=float, help=words)
    words = "how strongly the class is told, such as 2: precision rises, recall falls (default: as it is)"
    add.add_argument("--guidance", type=float, help=words)
    add.add_argument("--out", required=True, type=Path, help="directory of the adjusted model")
    add.add_argument("--data", help="where its images are: an archive, a folder or a zip (default: found by name)")


def _errors(commands: Any) -> None:
    add = commands.add_parser(
        "errors", help="measure a learned Gaussian's error at every noise level, for the optimal schedule of images"
    )
    add.add_argument("model", type=Path, help="directory of the model, whose card gets the errors")
    add.add_argument("--data", help="where its images are: an archive, a folder or a zip (default: found by name)")


def _denoisers(command: str) -> str:
    """What --denoiser takes in a command, and what it is by default."""
    several = "" if command == "sample" else "; several, with commas"
    default = "the model of the data, the DDGAN where there are several"
    if command == "export":
        default = f"exact, {default}, and gaussian; of images all models"
    return f"{', '.join(METHODS)}{several} (default {default})"


def _sampled(commands: Any) -> None:
    for name, words in {
        "sample": "sample a denoiser and write every step to an .npz file",
        "evaluate": "sample a denoiser and measure the samples against the law",
        "export": "write a picture, a film or the numbers of the denoisers side by side",
    }.items():
        add = commands.add_parser(name, help=words)
        add.add_argument(
            "data", help="a data set's name, the directory of a trained run, or a table (.csv, .tsv, .txt) of points"
        )
        add.add_argument("--columns", help=COLUMNS)
        add.add_argument("--denoiser", help=_denoisers(name))
        add.add_argument("--T", help="number of steps (default 4)")
        add.add_argument("--schedule", help=f"{', '.join(FAMILIES)} (default vp)")
        add.add_argument("--span", help="the schedule's range, LO,HI")
        add.add_argument("--budget", help="what --T counts: T, steps (default), or nfe, evaluations of the denoiser")
        add.add_argument("--eta", help="for ddim: 0 (default) draws nothing, 1 is ancestral sampling")
        add.add_argument("--seed", help="default 0")
        words = "class to draw, for models that know classes: a name, an index or any (default: each sample its own)"
        add.add_argument("--label", help=words)
        add.add_argument(
            "-n",
            "--n",
            help="samples (default 10000 points, 64 images; evaluate 2000 images; export 2000 points, 9 images)",
        )
        if name == "evaluate":
            add.add_argument(
                "--samplings",
                type=int,
                default=1,
                help="sample with this many seeds, from --seed on; report the worst score, and the mean distance",
            )
            add.add_argument("--classifier", help="judge images by this one: the directory that train-classifier wrote")
            add.add_argument(
                "--fid", action="store_true", help="measure FID too, with 50,000 images (needs torch-fidelity)"
            )
            add.add_argument(
                "--nearest", type=Path, help="write a .png of samples, each beside the training images nearest to it"
            )
            add.add_argument("--json", action="store_true", help="print one JSON object")
        else:
            kinds = ".npz" if name == "sample" else f".{', .'.join(files.KINDS)}; .html: a landscape in 3-D of --at"
            add.add_argument("--out", required=True, type=Path, help=kinds)
        add.add_argument(
            "--forks", help="draw other noise at single steps, as in a link: z.2.7,eps.2.5.3 (what, t, seed, sample)"
        )
        add.add_argument("--edit", help="begin with an image, as in a link: 2.PIXELS (t, image)")
        if name == "export":
            add.add_argument("--t", type=int, help="which state a .png shows (default 0, the last)")
            add.add_argument(
                "--layers",
                help="what a picture of points shows: samples,density,x0,paths,field (default samples,density)",
            )
            add.add_argument(
                "--at", help="the law that an .html shows, as in a link: t,X,Y,x_0 or t,X,Y,x_s (default 1,0.3,0.2,x_0)"
            )
            add.add_argument("--hold", type=int, help="draw the whole path of this sample")
            add.add_argument("--glide", type=int, default=0, help="frames between two states (default 0)")
            add.add_argument("--address", default="", help="address of the page, for the link inside the file")


def _import_official(commands: Any) -> None:
    add = commands.add_parser(
        "import-official", help="make a model of the CIFAR-10 generator that the paper's authors publish"
    )
    add.add_argument("file", type=Path, help="the file netG_1200.pth of the paper's authors")
    add.add_argument("--out", required=True, type=Path, help="directory of the model")


def _bench(commands: Any) -> None:
    add = commands.add_parser("bench", help="measure speed or reliability on this machine")
    add.add_argument("what", choices=["toys", "images", "faults", "serve", "scrub", "crowd"])
    add.add_argument("--json", action="store_true", help="print one JSON object")
    add.add_argument(
        "--quick",
        action="store_true",
        help="do less: one seed instead of five, one kill instead of a hundred, and so on",
    )
    add.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="serve and scrub: the directory of another checkout, to measure beside this one",
    )


def _record(commands: Any) -> None:
    add = commands.add_parser("record", help="compute again what the page opens with, and write it to assets/")
    add.add_argument("what", choices=["run", "race"], help="run: the training that Train plays; race: the one in Why")


def _evidence(commands: Any) -> None:
    add = commands.add_parser("evidence", help="run an experiment of the tab Evidence")
    add.add_argument(
        "name",
        help=f"{', '.join(evidence.EXPERIMENTS)}; list; "
        "readme (writes the README files of results); figures (draws the figures); "
        "examples (makes the exact class posteriors that come with the page)",
    )
    add.add_argument("--quick", action="store_true", help="measure less, in minutes; the results go to runs/evidence")
    add.add_argument("--again", action="store_true", help="measure everything again, not only what is missing")
    add.add_argument(
        "--only",
        default="",
        metavar="WORDS",
        help="measure only what has these words in its name, like 'T = 4, seed 2'",
    )
    add.add_argument("--out", type=Path, help="directory of results (default assets/evidence; --quick: runs/evidence)")
