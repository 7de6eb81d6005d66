"""The command line: presets, data, train, train-classifier, sample, evaluate, export, import-official, bench, evidence.

Every command builds a `Config` or a `Request` and drains the session. Results go to standard output, progress to
standard error; a mistake is one sentence on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from . import archives, bench, checkpoint, evidence, export, networks, official, ranks
from .bench import faults
from .bench.crowd import crowd
from .classifier import BATCH, fit_classifier
from .config import PRESETS, Config, preset
from .fit import fit
from .images import CACHE, find_images, load_images
from .schedule import FAMILIES
from .picture import Look
from .request import DENOISERS, IMAGES, Request
from .machine import single_thread
from .session import Session
from .trainer import TrainStep

__all__ = ["main", "parser"]

MAX_SAMPLED = 250_000_000  # numbers that `sample` keeps: 1 GB
GRACE = 20.0  # seconds from a signal to the end of a training: torchrun kills after 30
# what `train` may change of a preset
WHOLE = {
    "width": "hidden width, or channels at full resolution",
    "depth": "hidden layers, or blocks a resolution",
    "d-width": "width of D; 0: as wide as G",
    "patch": "side of the squares that images are folded by",
    "latent-dim": "numbers in z; 0: none",
    "every": "updates from one gradient penalty to the next",
    "batch": "samples an update",
    "accumulate": "parts that a batch is cut into, to save memory",
    "steps": "updates",
    "seed": "of the first weights, the order of the data and the noise",
}
RATES = {
    "clean": "share of a batch's pairs whose target is clean data",
    "gamma": "weight of the gradient penalty",
    "lr-g": "learning rate of G",
    "lr-d": "learning rate of D",
    "ema": "slowest rate of the moving average",
}


class _Parser(argparse.ArgumentParser):
    def __init__(self, **how: Any) -> None:
        super().__init__(**how, allow_abbrev=False)  # a slip must not pass for another option

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    top = _Parser(prog="python -m ddgan", description="Denoising Diffusion GANs, step by step.")
    commands = top.add_subparsers(dest="command", required=True, parser_class=_Parser, metavar="COMMAND")

    add = commands.add_parser("presets", help="list what can be trained")
    add.add_argument("--json", action="store_true", help="print one JSON object")

    add = commands.add_parser("data", help="say what a set of images holds; get cifar10 or mnist where it is not here")
    add.add_argument("images", help="cifar10, mnist, stackedmnist, or the path of an official archive, a folder or a zip")
    add.add_argument("--out", type=Path, help=f"directory that the archive of cifar10, or the files of mnist, are downloaded to (default {CACHE})")
    add.add_argument("--split", choices=("train", "test"), default="train", help="train or test")
    add.add_argument("--size", type=int, help="crop each image to its middle square and resize it to this many pixels")

    add = commands.add_parser("train", help="train a model and write it, with its card, to a directory")
    add.add_argument("preset", help="a preset's name, or a .csv file of two columns: your own points")
    add.add_argument("--out", required=True, type=Path, help="directory of the run")
    add.add_argument("--T", type=int, help="train for exactly T steps; default: any number of steps")
    add.add_argument("--objective", help="ddgan or regression (the learned Gaussian denoiser)")
    add.add_argument("--data", help="where the preset's images are: an archive, a folder or a zip; default: found by name")
    add.add_argument("--size", type=int, help="crop each image to its middle square and resize it to this many pixels")
    add.add_argument("--network", help="skip, plain (the paper's), plain-g, plain-d, v, eps or plain-eps; images: unet-draw or unet (the paper's)")
    add.add_argument("--loss", help="points: r1r2, paper, rpgan, rpgan-exact or wgan-gp; images: rpgan-exact, paper or wgan-gp")
    add.add_argument("--decay", help="late or cosine: how the learning rates fall")
    add.add_argument("--init", help="a model to begin with: a shipped one's name, or a directory")
    for name, words in WHOLE.items():
        add.add_argument(f"--{name}", type=int, help=words)
    for name, words in RATES.items():
        add.add_argument(f"--{name}", type=float, help=words)
    add.add_argument("--seconds", type=float, default=math.inf, help="stop after this many seconds of training")
    add.add_argument("--minutes", type=float, default=math.inf, help="the same in minutes; the shorter counts")
    add.add_argument("--resume", action="store_true", help="go on with the run in --out")
    add.add_argument("--save-every", type=float, default=30.0, help="seconds between two saved states (default 30)")

    add = commands.add_parser("train-classifier", help="train the classifier that images are judged by, and write it")
    add.add_argument("data", help="labelled images: cifar10, mnist, ...")
    add.add_argument("--out", required=True, type=Path, help="directory of the classifier")
    add.add_argument("--width", type=int, default=32, help="channels at full resolution; 8 times as many features (default 32)")
    add.add_argument("--epochs", type=int, default=16, help="default 16")
    add.add_argument("--minutes", type=float, default=math.inf, help="stop after this many minutes of training")
    add.add_argument("--seed", type=int, default=0)

    for name, words in {
        "sample": "sample a denoiser and write every step to an .npz file",
        "evaluate": "sample a denoiser and measure the samples against the law",
        "export": "write a picture, a film or the numbers of the denoisers side by side",
    }.items():
        add = commands.add_parser(name, help=words)
        add.add_argument("data", help="a name of toys or images, a trained run's directory, or a .csv file of two columns")
        add.add_argument("--denoiser", help=f"{', '.join(DENOISERS)}; evaluate and export take several, with commas")
        add.add_argument("--T", help="number of steps (default 4)")
        add.add_argument("--schedule", help=f"{', '.join(FAMILIES)} (default vp)")
        add.add_argument("--span", help="the schedule's range, LO,HI")
        add.add_argument("--seed", help="default 0")
        add.add_argument("-n", "--n", help="number of samples (default 10000 points; 64 images, evaluate 2000; export 2000 points, 9 images)")
        if name == "evaluate":
            add.add_argument("--samplings", type=int, default=1, help="how many seeds, from --seed on: the worst counts, of a distance the mean")
            add.add_argument("--fid", action="store_true", help="FID too, of 50,000 images, by torch-fidelity if it is installed")
            add.add_argument("--nearest", type=Path, help="a .png of samples, each beside the training images nearest to it")
            add.add_argument("--json", action="store_true", help="print one JSON object")
        else:
            kinds = ".npz" if name == "sample" else f".{', .'.join(export.KINDS)}"
            add.add_argument("--out", required=True, type=Path, help=kinds)
        add.add_argument("--forks", help="other noise at single steps, as in a link: z.2.7,eps.2.5.3 (what, t, seed, sample)")
        add.add_argument("--edit", help="begin with an image, as in a link: 2.PIXELS (t, image)")
        if name == "export":
            add.add_argument("--t", type=int, help="the state of a .png (default 0, the last)")
            add.add_argument("--layers", default="samples,density", help="of points: some of samples,density,x0,paths (default samples,density)")
            add.add_argument("--hold", type=int, help="a sample whose whole way is drawn")
            add.add_argument("--glide", type=int, default=0, help="frames between two states (default 0)")
            add.add_argument("--address", default="", help="the page's, for the link inside the file")

    add = commands.add_parser("import-official", help="make a model of the CIFAR-10 generator that the paper's authors publish")
    add.add_argument("file", type=Path, help="their netG_1200.pth")
    add.add_argument("--out", required=True, type=Path, help="directory of the model")

    add = commands.add_parser("bench", help="measure")
    add.add_argument("what", choices=["toys", "images", "faults", "serve"])
    add.add_argument("--json", action="store_true", help="print one JSON object")
    add.add_argument("--quick", action="store_true", help="one seed for five, one round for three, one kill for a hundred, a short day")

    add = commands.add_parser("evidence", help="run one of the experiments that the tab Evidence shows")
    add.add_argument("name", help=f"{', '.join(evidence.EXPERIMENTS)}; list; readme (makes the README's table anew)")
    add.add_argument("--quick", action="store_true", help="minutes on two cores: less of everything, and not kept")
    add.add_argument("--again", action="store_true", help="measure everything anew, not only what is missing")
    add.add_argument("--only", default="", metavar="WORDS", help="what has these words in its name, like 'T = 4, seed 2': for several processes")
    add.add_argument("--out", type=Path, help="directory of results (default assets/evidence; --quick: runs/evidence)")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for bad input, 130 for an interrupt."""
    single_thread()
    try:
        options = parser().parse_args(argv)
        return globals()[f"_{options.command.replace('-', '_')}"](options) or 0
    except (ValueError, FloatingPointError, OSError) as error:
        print(f"ddgan: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"ddgan: stopped{stop}", file=sys.stderr)
        return 130


def _presets(options: argparse.Namespace) -> None:
    if options.json:
        return _print_json({name: config.to_dict() for name, config in PRESETS.items()})
    for name, c in PRESETS.items():
        steps = "any T" if c.T is None else f"T = {c.T}"
        print(f"{name:28} {c.objective:10} {steps:6} {c.network} {c.depth} x {c.width}, {c.criterion}, {c.steps:,} updates")


def _data(options: argparse.Namespace) -> None:
    path = options.images
    if options.size is not None and options.size < 1:
        raise ValueError(f"--size must be at least 1, got {options.size}")
    if options.out and path not in archives.SOURCES:
        raise ValueError(f"--out is for {' and '.join(archives.SOURCES)}, which can be downloaded, got {path!r}")
    if path in archives.SOURCES and (options.out or not find_images(path, options.split)):
        path = archives.fetch(path, options.out or CACHE, watch=_arriving(time.monotonic()))
        print(path, file=sys.stderr)
    images = load_images(path, split=options.split, size=options.size)
    kinds = ", ".join(images.classes[:10]) + (", ..." if len(images.classes) > 10 else "")
    labels = "no classes" if images.labels is None else f"{images.labels.max() + 1:,} classes{': ' * bool(kinds)}{kinds}"
    print(f"{len(images):,} images of {' x '.join(map(str, images.shape))}, {labels}")


def _arriving(start: float) -> Callable[[int, int], None]:
    """Says once a second how much of a download has come and how long the rest will take."""
    shown = start

    def watch(done: int, size: int) -> None:
        nonlocal shown
        if (now := time.monotonic()) - shown > 1 or done == size:
            shown, left = now, (now - start) * (size - done) / done
            end = "\n" if done == size else ""
            print(f"\r{done / 1e6:.0f} of {size / 1e6:.0f} MB  {left:.0f} s left   ", end=end, file=sys.stderr)

    return watch


def _train(options: argparse.Namespace) -> None:
    named = {field.name for field in fields(Config)} & vars(options).keys() - {"data"}
    given = {name: value for name in named if (value := getattr(options, name)) is not None}
    if given.get("objective") == "regression":
        given.setdefault("latent_dim", 0)
    own = options.preset.endswith(".csv")
    if not own and options.preset not in PRESETS and Path(options.preset).exists():
        raise ValueError(f"images are given as --data: python -m ddgan train cifar10 --data {options.preset} --size 32 --out ...")
    base = Config(options.preset) if own else preset(options.preset)
    config = replace(base, **given)
    if base.objective == "regression" and config.objective == "ddgan":
        raise ValueError(f"{options.preset} is a learned Gaussian: the DDGAN is the preset {options.preset.removesuffix('-regression')}")
    kinds = next(kinds for kinds in (networks.IMAGES, networks.VECTORS) if base.network in kinds)
    if config.network not in kinds:
        raise ValueError(f"the network of {options.preset} must be one of {', '.join(kinds)}, got {config.network}")
    _above_zero(options, "seconds", "minutes")
    if config.network == "unet-draw" and options.latent_dim:
        raise ValueError(f"z of this network is as large as an image, or --latent-dim 0; got {options.latent_dim}: --network unet takes any")
    if not options.save_every >= 0:
        raise ValueError(f"--save-every must be at least 0, got {options.save_every:g}")
    ranks.join()
    # a resumed run equals an unbroken one, so the card names the command that makes it from scratch
    command = f"python -m ddgan {shlex.join(word for word in sys.argv[1:] if word != '--resume')}"
    steps = fit(
        config, options.out, images=options.data, size=options.size, seconds=min(options.seconds, 60 * options.minutes),
        resume=options.resume, command=command, save_every=options.save_every, say=lambda words: print(f"\nddgan: {words}", file=sys.stderr),
    )  # fmt: skip
    _watch(_until_stopped(steps), config.batch)
    if not ranks.rank():
        for T, numbers in checkpoint.read_card(options.out)["metrics"].items():
            print(f"{T}: " + "  ".join(f"{name} {value}" for name, value in numbers.items()), file=sys.stderr)
        print(f"{options.out}/model.safetensors")


def _until_stopped(steps: Iterator[TrainStep]) -> Iterator[TrainStep]:
    """The same steps until SIGTERM or Ctrl-C, which wait for the end of an update: half an update cannot be saved.

    Where that takes longer than GRACE, and before and after the updates, they end everything at once.
    """
    at_once, asked = True, math.inf
    timer = threading.Timer(GRACE, signal.raise_signal, [signal.SIGINT])
    timer.daemon = True

    def stop(*_: Any) -> None:
        nonlocal asked
        if at_once or time.monotonic() >= asked + GRACE:
            raise KeyboardInterrupt
        if asked == math.inf:
            asked = time.monotonic()
            timer.start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for step in steps:
            at_once = step.progress == 1  # what follows is judging
            yield step
            if ranks.agree(asked) < math.inf:
                raise KeyboardInterrupt(f" after update {step.step:,}, which is saved: --resume goes on")
    finally:
        at_once = False
        steps.close()
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _train_classifier(options: argparse.Namespace) -> None:
    _above_zero(options, "width", "epochs", "minutes")
    train, test = (load_images(options.data, split=split) for split in ("train", "test"))
    command = f"python -m ddgan {shlex.join(sys.argv[1:])}"
    size = {"width": options.width, "epochs": options.epochs, "seconds": 60 * options.minutes}
    _watch(fit_classifier(train, test, options.out, **size, seed=options.seed, command=command), BATCH)
    print(f"{options.out}/classifier.safetensors")


def _above_zero(options: argparse.Namespace, *names: str) -> None:
    for name in names:
        if not getattr(options, name) > 0:
            raise ValueError(f"--{name} must be above 0, got {getattr(options, name):g}")


def _watch(steps: Iterator[TrainStep], batch: int) -> None:
    """Drain a training; the first of its processes prints how far it is."""
    begun = shown = time.monotonic()
    try:
        for step in steps:
            if not ranks.rank() and (time.monotonic() - shown > 1 or step.progress >= 1):
                shown = time.monotonic()
                print(_progressed(step, batch), end="", file=sys.stderr, flush=True)
    finally:
        if shown > begun:
            print(file=sys.stderr)


def _progressed(step: TrainStep, batch: int) -> str:
    losses = "  ".join(f"{name.upper()} {value:.3f}" for name, value in step.losses.items())
    left = step.seconds * (1 - step.progress) / max(step.progress, 1e-9)
    speed = batch * step.step / step.seconds
    return (
        f"\rupdate {step.step:,}  {step.progress:4.0%}  {speed:,.0f} samples/s  {left:.0f} s left  {losses}    "
        + "\njudging what was learned" * (step.progress >= 1)  # minutes, for images
    )


def _request(options: argparse.Namespace, **default: Any) -> Request:
    given = {
        "data": options.data,
        "denoisers": options.denoiser,
        **{name: getattr(options, name) for name in ("T", "schedule", "span", "seed", "n", "forks", "edit")},
    }
    return Request.parse({**default, **{name: value for name, value in given.items() if value is not None}}, local=True)


def _models(session: Session, options: argparse.Namespace) -> list[str]:
    """What has been trained on the data, the DDGAN first and the authors' left out; the DDGAN where there is nothing."""
    return [name for name in session.source(options.data).models if name != "official"] or ["ddgan"]


def _sample(options: argparse.Namespace) -> None:
    if options.out.suffix != ".npz":
        raise ValueError(f"--out must end in .npz, got {options.out}")
    session = Session()
    points = session.source(options.data).law is not None
    request = _request(options, denoisers=_models(session, options)[0], n=10_000 if points else 64)
    if (numbers := 4 * request.n * request.start * prod(session.source(options.data).shape)) > MAX_SAMPLED:
        raise ValueError(f"a file of samples holds at most {MAX_SAMPLED:,} numbers, this is {numbers:,}: ask for fewer samples or steps")
    if len(request.denoisers) != 1:
        raise ValueError(f"one denoiser at a time is sampled to a file, got {', '.join(request.denoisers)}")
    steps = list(_progress(session.run(request, request.denoisers[0]), request.start))
    export.npz(options.out, request, steps)
    print(options.out)


def _evaluate(options: argparse.Namespace) -> None:
    session, rows = Session(), {}
    points = session.source(options.data).law is not None
    request = _request(options, denoisers=_models(session, options)[0], n=10_000 if points else 50_000 if options.fid else 2000)
    if not 1 <= options.samplings <= 100:
        raise ValueError(f"--samplings must be in 1..100, got {options.samplings}")
    near = export.neighbours(options.nearest, session, request) if options.nearest else {}  # first: it may refuse
    for name in request.denoisers:
        rows[name] = session.judge(request, name, options.samplings, watch=_progress, with_fid=options.fid)
        rows[name] |= {"nearest": near[name]} if near else {}
    if options.json:
        only = next(iter(rows.values())) if len(rows) == 1 else {"results": rows}
        return _print_json({**request.to_dict(), **only})
    for name, row in rows.items():
        if "of_modes" not in row:  # of images
            said = (f"{key} {value:,}" if isinstance(value, int) else f"{key} {value:.4g}" for key, value in row.items())
            print(f"{name:10}  " + "  ".join(said))
            continue
        print(
            f"{name:10}  modes {row['modes']}/{row['of_modes']}  on a mode {row['on_mode']:.2%}  KL {row['kl']:.4f}  "
            f"width {row['width']:.2f}  sliced W2 {row['sliced_w2']:.4f} (two samples of the law: {row['floor_sliced_w2']:.4f})"
        )


def _export(options: argparse.Namespace) -> None:
    session = Session()
    points = session.source(options.data).law is not None
    models = _models(session, options)
    request = _request(options, **({"denoisers": ["exact", models[0], "gaussian"]} if points else {"denoisers": models, "n": IMAGES["n"]}))
    look = Look.parse(options.layers, options.hold)
    export.write(options.out, session, request, t=options.t, address=options.address, glide=options.glide, look=look)
    print(options.out)


def _import_official(options: argparse.Namespace) -> None:
    official.convert(options.file, options.out)
    print(f"{options.out}/model.safetensors")


def _bench(options: argparse.Namespace) -> None:
    faulted = partial(faults.kills, main)
    table = {"toys": (bench.toys, 5, 1), "images": (bench.images, 3, 1), "faults": (faulted, 100, 1), "serve": (crowd, 1, 0.02)}
    measure, much, little = table[options.what]
    report = measure(little if options.quick else much, say=lambda words: print(words, file=sys.stderr))
    if options.json:
        return _print_json(report)
    for name, value in report.items():
        print(f"{name}: {json.dumps(value)}")


def _evidence(options: argparse.Namespace) -> None:
    out = options.out or (Path("runs/evidence") if options.quick else evidence.ASSETS)
    if options.name == "list":
        for e in evidence.EXPERIMENTS.values():
            cells = e.cells(options.quick)
            done = len(cells) - len(evidence.left(cells, evidence.read(e.name, out)))
            print(f"{e.name:15} {done:3} of {len(cells):3} cells  {e.claim}")
        return
    if options.name == "readme":
        path = evidence.ASSETS.parents[1] / "README.md"
        path.write_text(evidence.readme(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(path)
        return
    chosen = evidence.experiment(options.name)
    say = lambda words: print(words, file=sys.stderr, flush=True)  # noqa: E731
    lines = evidence.table(chosen, evidence.run(chosen, out, quick=options.quick, again=options.again, only=options.only, say=say))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _progress(parts: Iterator[Any], of: int) -> Iterator[Any]:
    """The same parts; from the third second on, how many there are yet and how long they will still take."""
    start = shown = time.monotonic()
    for done, part in enumerate(parts, 1):
        yield part
        now = time.monotonic()
        if now - start > 3 and (now - shown > 1 or done == of):
            shown = now
            end = "\n" if done == of else ""
            print(f"\r{done} of {of}  {(now - start) / done * (of - done):.0f} s left   ", end=end, file=sys.stderr)


def _print_json(value: Any) -> None:
    print(json.dumps(export.finite(value), allow_nan=False))
