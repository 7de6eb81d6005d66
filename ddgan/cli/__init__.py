"""The command line; arguments.py has the commands.

Every command builds a `Config` or a `Request` and drains the session. Results go to standard output, progress to
standard error; a mistake is one sentence on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from .. import evidence
from ..data import archives
from ..data.images import CACHE, ImageSet, NoSplit, find_images, held_out, load_images
from ..data.tables import file_of, is_table, with_columns
from ..diffusion.solver import DDIM
from ..errors import Refused
from ..evidence.bench import faults, speed
from ..evidence.bench.crowd import crowd
from ..evidence.bench.serve import scrub, serve
from ..explorer.catalogue import source_of
from ..explorer.class_rows import EXAMPLES, examples
from ..explorer.labels import ignored
from ..explorer.parse import whole
from ..explorer.posterior import Question
from ..explorer.request import IMAGE_DEFAULTS, Request
from ..explorer.scene import stepwise
from ..explorer.session import Session
from ..machine import cores, device, keep_pages, precision, use_cores
from ..metrics.images import denoising_errors
from ..models import checkpoint, official, registry
from ..models.config import PRESETS, Config, preset, suited
from ..training import distributed
from ..training.classifier import BATCH, fit_classifier
from ..training.finish import adjust
from ..training.run import fit, refuse_misfits, table_of
from ..views import files, landscape, recorded
from ..views.answers import finite
from ..views.picture import Look
from .arguments import parser
from .progress import arriving, progress, time_left, until_stopped, watch

__all__ = ["main"]

MAX_SAMPLED = 250_000_000  # numbers that `sample` keeps: 1 GB
DRAWN = "samples,density"  # layers of a picture of points
HELD_OUT = 0.1  # of the images of each class, where a classifier's set has no test split


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0, 1 for a bug, 2 for bad input, 130 for an interrupt, 141 where nobody reads on.
    """
    use_cores()
    keep_pages()
    try:
        options = parser().parse_args(argv)
        return globals()[f"_{options.command.replace('-', '_')}"](options) or 0
    except BrokenPipeError:  # whoever reads, like head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain at its end
        return 141
    except (Refused, FloatingPointError, OSError) as error:
        _say(error)
        return 2
    except KeyboardInterrupt as stop:
        _say(f"stopped{stop}")
        return 130
    except Exception as error:
        _say(_reported(error))
        return 1


def _say(words: object) -> None:
    print(f"ddgan: {words}", file=sys.stderr)


def _reported(error: Exception) -> str:
    """A sentence about a bug; its traceback goes into a file that can be sent along."""
    words = f"this is a fault of the program, not of your input ({type(error).__name__}: {str(error)[:200]})"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="ddgan-", suffix=".log", delete=False) as log:
            traceback.print_exception(error, file=log)
    except OSError:
        return words
    return f"{words}; {log.name} says where"


def _presets(options: argparse.Namespace) -> None:
    if options.json:
        return _print_json({name: config.to_dict() for name, config in PRESETS.items()})
    for name, c in PRESETS.items():
        steps = "any T" if c.T is None else f"T = {c.T}"
        print(
            f"{name:28} {c.objective:10} {steps:6} {c.network} {c.depth} x {c.width}, "
            f"{c.criterion}, {c.steps:,} updates"
        )


def _data(options: argparse.Namespace) -> None:
    path = options.images
    if options.size is not None and options.size < 1:
        raise Refused(f"--size must be at least 1, got {options.size}")
    if options.out and path not in archives.SOURCES:
        raise Refused(f"--out is for {' and '.join(archives.SOURCES)}, which can be downloaded, got {path!r}")
    if path in archives.SOURCES and (options.out or not find_images(path, options.split)):
        if not (folder := options.out or CACHE):
            raise Refused("a download needs a place, and there is no home directory: give --out")
        path = archives.fetch(path, folder, watch=arriving())
        print(path, file=sys.stderr)
    print(_images(path, options.split, options.size))


def _images(name: str | Path, split: str, size: int | None) -> ImageSet:
    """The images of a name or path; how long that takes, and how the files were understood, is said."""
    with time_left() as watch:
        images = load_images(name, split=split, size=size, watch=watch)
    for note in images.notes:
        _say(note)
    return images


def _train(options: argparse.Namespace) -> None:
    named = {field.name for field in fields(Config)} & vars(options).keys() - {"data"}
    given = {name: value for name in named if (value := getattr(options, name)) is not None}
    if "classes" in given:
        given["classes"] = None if given["classes"] else 0
    options.preset = with_columns(options.preset, options.columns)
    own = is_table(options.preset)
    if not own and options.preset not in PRESETS and Path(options.preset).exists():
        raise Refused(
            f"images are given as --data: python -m ddgan train cifar10 --data {options.preset} --size 32 --out ...; "
            "a table ends in .csv, .tsv or .txt"
        )
    table = table_of(options.preset, options.out, options.resume) if own else None
    base = Config(options.preset, latent_dim=table.points.shape[1]) if table else preset(options.preset)
    asked = given.get("objective", base.objective)
    if base.objective not in ("ddgan", asked):
        stem, ending = options.preset.removesuffix(f"-{base.objective}"), "" if asked == "ddgan" else f"-{asked}"
        raise Refused(f"{options.preset} is of the objective {base.objective}: that of {asked} is {stem}{ending}")
    if base.objective == "ddgan":
        base = suited(base, asked)
    config = replace(base, **given)
    _used(options, config)
    refuse_misfits(config)
    _above_zero(options, "seconds", "minutes")
    if config.network == "unet-draw" and options.latent_dim:
        raise Refused(
            f"z of this network is as large as an image, or --latent-dim 0; got {options.latent_dim}: "
            "--network unet takes any"
        )
    if not options.save_every >= 0:
        raise Refused(f"--save-every must be at least 0, got {options.save_every:g}")
    _share(options.threads, images=config.network in registry.IMAGE_NETWORKS)
    with distributed.joined():
        if table and not distributed.rank():
            _say(f"{file_of(options.preset).name}: {table.said}")
        _train_together(options, config)


def _used(options: argparse.Namespace, config: Config) -> None:
    """Refused where an option would change nothing."""
    for names, used, of in (
        (("patch", "classes", "unlabelled"), config.network in registry.IMAGE_NETWORKS, "images"),
        (("unlabelled",), config.classes != 0, "networks with --classes"),
        (("d_width", "loss", "every", "gamma", "anneal", "lr_d"), config.objective == "ddgan", "a DDGAN"),
    ):
        for name in () if used else names:
            if getattr(options, name) not in (None, False):
                raise Refused(f"--{name.replace('_', '-')} is for {of}, this is {config.objective} of {config.data}")


def _share(n: int, *, images: bool) -> None:
    """Compute on n cores in each process; where images would gain from more than one, the first process says so."""
    if not 1 <= n <= cores():
        raise Refused(f"--threads must be from 1 to {cores()}, the cores of this computer, got {n}")
    use_cores(n)
    processes, first = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), os.environ.get("RANK", "0") == "0"
    each = cores() // processes
    if images and n == 1 < each and device().type == "cpu" and first:
        used = "one" if processes == 1 else processes
        most = each * processes if cores() % processes else "all"
        _say(f"training on {used} of {cores()} cores; --threads {each} uses {most} of them")


def _train_together(options: argparse.Namespace, config: Config) -> None:
    """What each of the processes does that train one model."""
    with time_left() as reading:
        steps = fit(
            config, options.out, images=options.data, size=options.size, reading=reading, resume=options.resume,
            seconds=min(options.seconds, 60 * options.minutes), save_every=options.save_every, command=_command(),
            say=lambda words: print(f"\nddgan: {words}", file=sys.stderr),
        )  # fmt: skip
        watch(until_stopped(steps), config.batch)
    if not distributed.rank():
        _print_metrics(options.out)


def _command() -> str:
    """What a card names as the command that makes its model, from scratch: a resumed run equals an unbroken one."""
    return f"python -m ddgan {shlex.join(word for word in sys.argv[1:] if word != '--resume')}"


def _print_metrics(out: Path) -> None:
    metrics = checkpoint.read_card(out)["metrics"]
    for T, numbers in metrics.items():
        print(f"{T}: " + "  ".join(f"{name} {value}" for name, value in numbers.items()), file=sys.stderr)
    if metrics and all(numbers.get("on_mode") == 0 for numbers in metrics.values()):
        _say("no sample lies on a mode of the data: if the training diverged, lower learning rates may hold it")
    print(f"{out}/model.safetensors")


def _adjust(options: argparse.Namespace) -> None:
    given = {"spread": options.spread, "guidance": options.guidance}
    adjust(options.model, options.out, **given, images=options.data, command=_command())
    _print_metrics(options.out)


def _train_classifier(options: argparse.Namespace) -> None:
    _above_zero(options, "width", "epochs", "minutes")
    whole("--seed", options.seed, 0, 2**31 - 1)
    _share(options.threads, images=True)
    train, measured_on = _images(options.data, "train", options.size), "the test split"
    try:
        test = _images(options.data, "test", options.size)
    except NoSplit:
        train, test = held_out(train, HELD_OUT, options.seed)
        measured_on = (
            f"{len(test):,} images held out: {HELD_OUT:.0%} of each class, at least one, at random by the seed"
        )
        _say(f"there is no test split, so accuracy is measured on {measured_on}")
    steps = fit_classifier(
        train, test, options.out, width=options.width, epochs=options.epochs, seconds=60 * options.minutes,
        seed=options.seed, noisy=options.noisy, command=_command(), measured_on=measured_on,
    )  # fmt: skip
    watch(steps, BATCH)
    print(f"{options.out}/classifier.safetensors")


def _errors(options: argparse.Namespace) -> None:
    model, card = checkpoint.load(options.model), checkpoint.read_card(options.model)
    config = Config.from_dict(card["config"])
    if config.objective != "regression" or config.network not in registry.IMAGE_NETWORKS:
        found = f"{options.model} is {config.objective} of {config.data}"
        raise Refused(f"only a learned Gaussian of images has such errors, {found}")
    if not options.data and not source_of(str(options.model)).set:
        raise Refused(f"{options.model} was trained on images of its own: give them as --data")
    C, H, W = card["shape"]
    size, of = (W if options.data and H == W else None), "test images"
    try:
        data = _images(options.data or config.data, "test", size)
    except NoSplit:
        data, of = _images(options.data or config.data, "train", size), "training images"
    if tuple(data.shape) != (C, H, W):
        raise Refused(f"the model is of images of {C} x {H} x {W}, these are of {' x '.join(map(str, data.shape))}")
    errors = denoising_errors(model.to(device(), precision(device())), data)
    checkpoint.amend(options.model, errors={**errors, "of": of})
    for level, squared in zip(errors["levels"], errors["squared"], strict=True):
        print(f"log-SNR {level:5.1f}  E|x_0 - E[x_0 | x_t]|^2 {squared:.5g}")


def _above_zero(options: argparse.Namespace, *names: str) -> None:
    for name in names:
        if not getattr(options, name) > 0:
            raise Refused(f"--{name} must be above 0, got {getattr(options, name):g}")


def _request(options: argparse.Namespace, **default: Any) -> Request:
    same = ("T", "schedule", "span", "seed", "n", "forks", "edit", "eta", "budget", "label")
    given = {"data": options.data, "denoisers": options.denoiser, **{name: getattr(options, name) for name in same}}
    return Request.parse({**default, **{name: value for name, value in given.items() if value is not None}}, local=True)


def _understood(session: Session, options: argparse.Namespace) -> bool:
    """Whether the data are points; says how a table of them was read, whose columns become part of the data's name."""
    options.data = with_columns(options.data, options.columns)
    source = session.source(options.data)
    if source.said:
        _say(source.said)
    return source.law is not None


def _say_ignored(session: Session, request: Request) -> None:
    """Say which denoisers cannot be told the class that is asked for, and where none has an eta."""
    if request.eta is not None and not any(isinstance(request.method(name).solver, DDIM) for name in request.denoisers):
        _say("--eta changes nothing here: it is for ddim and learned-ddim")
    for name in request.denoisers:
        if ignored(session.model(request, name), request.label):
            _say(f"{name} knows no classes: its samples are of any")


def _models(session: Session, options: argparse.Namespace) -> list[str]:
    """What has been trained on the data, the DDGAN first, without the authors' model; the DDGAN where nothing has."""
    return [name for name in session.source(options.data).models if name != "official"] or ["ddgan"]


def _sample(options: argparse.Namespace) -> None:
    if options.out.suffix.lower() != ".npz":
        raise Refused(f"--out must end in .npz, got {options.out}")
    session = Session()
    points = _understood(session, options)
    request = _request(options, denoisers=_models(session, options)[0], n=10_000 if points else 64)
    if (numbers := 4 * request.n * request.start * prod(session.source(options.data).shape)) > MAX_SAMPLED:
        raise Refused(
            f"a file of samples holds at most {MAX_SAMPLED:,} numbers, this is {numbers:,}: "
            "ask for fewer samples or steps"
        )
    if len(request.denoisers) != 1:
        raise Refused(f"one denoiser at a time is sampled to a file, got {', '.join(request.denoisers)}")
    _say_ignored(session, request)
    *_, scene = progress(stepwise(session, request), request.walked(*request.denoisers).start + 1)  # the last: all
    files.npz(options.out, scene)
    print(options.out)


def _evaluate(options: argparse.Namespace) -> None:
    session, rows = Session(), {}
    points = _understood(session, options)
    n = 10_000 if points else 50_000 if options.fid else 2000
    request = _request(options, denoisers=_models(session, options)[0], n=n)
    if not 1 <= options.samplings <= 100:
        raise Refused(f"--samplings must be in 1..100, got {options.samplings}")
    judge = checkpoint.load_classifier(options.classifier) if options.classifier else None
    _say_ignored(session, request)
    near = files.neighbours(options.nearest, session, request) if options.nearest else {}  # first: it may refuse
    for name in request.denoisers:
        rows[name] = session.evaluate(request, name, options.samplings, progress, options.fid, judge)
        rows[name] |= {"nearest": near[name]} if near else {}
    if options.json:
        only = next(iter(rows.values())) if len(rows) == 1 else {"results": rows}
        return _print_json({**request.to_dict(), **only})
    for name, row in rows.items():
        if "of_modes" not in row:  # of images
            print(f"{name:10}  " + "  ".join(f"{key} {_said(value)}" for key, value in row.items()))
            continue
        energy = f"{row['energy']:8.5f}" if math.isfinite(row["energy"]) else "of one sample is none"
        print(
            f"{name:10}  energy distance {energy} (floor {row['floor_energy']:.5f})  "
            f"modes {row['modes']}/{row['of_modes']}  on a mode {row['on_mode']:.2%}  KL {row['kl']:.4f}  "
            f"width {row['width']:.2f}  sliced W2 {row['sliced_w2']:.4f} "
            f"(two samples of the law: {row['floor_sliced_w2']:.4f})"
        )


def _said(value: Any) -> str:
    """A number of images' metrics in few digits; numbers by name in brackets."""
    if isinstance(value, dict):
        return f"({', '.join(f'{key} {_said(v)}' for key, v in value.items())})"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _export(options: argparse.Namespace) -> None:
    session = Session()
    points = _understood(session, options)
    models = _models(session, options)
    if points:
        request = _request(options, denoisers=["exact", models[0], "gaussian"])
    else:
        request = _request(options, denoisers=models, n=IMAGE_DEFAULTS["n"])
    if options.out.suffix.lower() == ".html":
        return _landscape(options, session, request)
    if options.at is not None:
        raise Refused(f"--at is for an .html, got {options.out.name}")
    _say_ignored(session, request)
    for name in ("layers", "hold"):
        if getattr(options, name) is not None and (not points or options.out.suffix.lower() in (".npz", ".json")):
            raise Refused(f"--{name} is for pictures of points")
    look = Look.parse(DRAWN if options.layers is None else options.layers, options.hold)
    files.write(options.out, session, request, t=options.t, address=options.address, glide=options.glide, look=look)
    print(options.out)


def _landscape(options: argparse.Namespace, session: Session, request: Request) -> None:
    """Write the law at one x_t as a landscape."""
    for name in ("t", "hold", "layers", *["glide"] * bool(options.glide)):
        if getattr(options, name) is not None:
            raise Refused(f"--{name} is for pictures and films: an .html shows the law of --at")
    law = session.law(request.data)
    first = ",".join(["1", *("0.3", "0.2")[: len(law.mu[0])], "x_0"])  # as the page begins
    question = Question.of_words(request, options.at or first, law)
    landscape.write(options.out, session, question, options.address)
    print(options.out)


def _import_official(options: argparse.Namespace) -> None:
    official.convert(options.file, options.out)
    print(f"{options.out}/model.safetensors")


def _bench(options: argparse.Namespace) -> None:
    faulted = partial(faults.kills, main)
    table: dict[str, tuple[Callable[..., Any], float, float]] = {
        "toys": (speed.toys, 5, 1),
        "images": (speed.images, 3, 1),
        "faults": (faulted, 100, 1),
        "serve": (partial(serve, against=options.against), 1, 0.02),
        "scrub": (partial(scrub, against=options.against), 5, 1),
        "crowd": (crowd, 1, 0.02),
    }
    measure, much, little = table[options.what]
    report = measure(little if options.quick else much, say=partial(print, file=sys.stderr))
    if options.json:
        return _print_json(report)
    for name, value in report.items():
        print(f"{name}: {json.dumps(value)}")


def _record(options: argparse.Namespace) -> None:
    make = {"run": lambda: recorded.record_run(Session(), progress), "race": lambda: recorded.record_race(Session())}
    print(make[options.what]())


def _evidence(options: argparse.Namespace) -> None:
    out = options.out or (Path("runs/evidence") if options.quick else evidence.ASSETS)
    if options.name == "list":
        for e in evidence.EXPERIMENTS.values():
            cells = e.cells(options.quick)
            done = len(cells) - len(evidence.left(cells, evidence.read(e.name, out)))
            print(f"{e.name:15} {done:3} of {len(cells):3} cells  {e.claim}")
        return
    if options.name == "readme":
        for path, text in evidence.readmes().items():
            path.write_text(text, encoding="utf-8")
            print(path)
        return
    if options.name == "figures":
        for path in filter(None, (evidence.draw(e, out) for e in evidence.EXPERIMENTS.values())):
            print(path)
        return
    say = partial(print, file=sys.stderr)
    if options.name == "examples":
        print(examples(options.out / EXAMPLES.name if options.out else EXAMPLES, say))
        return
    chosen = evidence.experiment(options.name)
    lines = evidence.table(
        chosen, evidence.run(chosen, out, quick=options.quick, again=options.again, only=options.only, say=say)
    )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_json(value: Any) -> None:
    print(json.dumps(finite(value), allow_nan=False))
