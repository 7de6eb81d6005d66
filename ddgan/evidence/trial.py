"""Experiments 10 and 11, the fair trial: every way to take few steps, from the same noise, under every schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

from plotly import graph_objects as go

from ..data.images import SETS, find_images
from ..data.toys import toy
from ..diffusion.gaussianity import bound, chain_kl, start_gap
from ..diffusion.sampler import draw, seeds
from ..diffusion.schedule import FAMILIES, Schedule
from ..diffusion.solver import Solver
from ..errors import Refused
from ..explorer.methods import METHODS
from ..explorer.request import Request
from ..explorer.session import Session
from ..metrics.points import evaluate
from ..models.config import PRESETS
from .experiment import Beside, Cell, Column, Experiment, Result, no_class, weights
from .figures import Race, races
from .toys import trained

__all__ = ["EXPERIMENTS"]

DATA = "25-gaussians"
N, N_IMAGES = 20_000, 1000  # samples behind each number

# row name -> schedule family and span. Two rows start at less noise than the families do by default: one has the best
# span for DPM-Solver++ at T = 4, of about thirty that were tried, the other suits the best Gaussian
WALKS: dict[str, tuple[str, tuple[float, float] | None]] = {
    **{family: (family, None) for family in FAMILIES},
    "karras .05 to 2": ("karras", (0.05, 2.0)),
    "optimal 0 to 5": ("optimal", (0.0, 5.0)),
}

_session = cache(Session)


def _walk(name: str) -> dict[str, Any]:
    """Return the part of a cell's setting that names its schedule."""
    family, span = WALKS[name]
    return {"schedule": family} | ({"span": [*span]} if span else {})


def _judged(request: Request) -> dict[str, Any]:
    """Return the numbers of the request's one method, or {"failed": why} if its model does not know the levels."""
    session, (method,) = _session(), request.denoisers
    model, schedule = session.model(request, method), session.schedule(request)
    try:
        model.check(schedule)
    except Refused as error:
        return {"failed": str(error)}
    found = session.evaluate(request, method)
    return {key: value for key, value in found.items() if key not in ("of_modes", "samplings", "n")}


def _weights(data: str, method: str, schedule: str) -> list[str]:
    """Name the weights that a cell depends on. For images, errors of the learned Gaussian give the best schedule."""
    models = [METHODS[method].model] * (not METHODS[method].closed)
    models += ["regression"] * (schedule == "optimal" and data in SETS and models != ["regression"])
    return weights(*(data if model == "ddgan" else f"{data}-{model}" for model in models))


# ---------------------------------------------------------------- 10. schedules

STEPS = (1, 2, 4, 8, 16, 32, 64)
TENTH = {"optimal": (10, 12), "optimal 0 to 5": (10, 12)}  # more T, where the bound falls below .1 nats
CHAINS = {"gaussian": "best Gaussian", "mean": "DDPM, exact mean", "ddgan": "DDGAN", "exact": "exact law"}


def _span(span: Sequence[float]) -> tuple[float, float] | None:
    return (span[0], span[1]) if span else None


def _schedules(
    seed: int, schedule: str, T: int, denoiser: str, n: int, weights: list[str], span: Sequence[float] = ()
) -> dict[str, Any]:
    request = Request(DATA, (denoiser,), T, schedule, _span(span), seed, n)
    numbers, session = _judged(request), _session()
    if of := {"gaussian": bound, "exact": start_gap}.get(denoiser):
        numbers["bound"] = of(session.law(DATA), session.schedule(request))
    if denoiser == "gaussian":
        numbers["chain_kl"] = chain_kl(session.law(DATA), session.schedule(request))
    return {f"{denoiser}_{key}": value for key, value in numbers.items()}


def _schedules_cells(quick: bool) -> list[Cell]:
    n = 2000 if quick else N
    return [
        Cell(
            f"{walk}, T = {T}",
            0,
            {**_walk(walk), "T": T, "denoiser": name, "n": n, "weights": _weights(DATA, name, walk)},
        )
        for walk in WALKS
        for T in ((1, 4) if quick else sorted((*STEPS, *TENTH.get(walk, ()))))
        for name in CHAINS
    ]


def _schedules_figure(results: list[Result]) -> go.Figure:
    def curves(key: str, least: float = -1.0) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {}
        for r in results:
            if r.numbers.get(key) is not None and r.numbers[key] > least:
                found.setdefault(r.row.partition(", T")[0], []).append((r.setting["T"], r.numbers[key]))
        return found

    panels = {
        "best Gaussian: bound": Race("nats", curves("gaussian_bound")),
        "best Gaussian: KL of samples": Race("nats", curves("gaussian_chain_kl", 1e-3)),
    }
    shown = {r.setting["denoiser"] for r in results}
    for name in (name for name in ("mean", "ddgan") if name in shown):
        floor = next((r.numbers[f"{name}_floor_energy"] for r in results if f"{name}_floor_energy" in r.numbers), 0.0)
        panels[f"{CHAINS[name]}: samples"] = Race("energy distance", curves(f"{name}_energy"), floor)
    setting = (
        f"25 Gaussians; one curve for each schedule; {results[0].setting['n']:,} samples, seed 0;<br>"
        "dotted: noise floor; a hollow mark is not above it;<br>KL is drawn from .001 nats on"
    )
    return races(panels, "denoising steps T", setting)


def _of_chain(name: str) -> tuple[Column, ...]:
    label = CHAINS[name]
    return (
        Column(f"{name}_energy", f"{label}: energy", "{:.4f}"),
        Column(f"{name}_modes", "modes", "{:.0f}"),
        Column(f"{name}_on_mode", "on a mode", "{:.1%}"),
        Column(f"{name}_width", "width", "{:.2f}"),
    )


SCHEDULES = Experiment(
    "schedules",
    "How much depends on the schedule",
    "How many steps a Gaussian needs depends on the schedule: on vp, the paper's, its samples are still 2.5 nats from "
    "the law at T = 16, while on optimal they are .10 nats from it at T = 4, where the bound is .49.",
    _schedules_cells,
    _schedules,
    (
        Column("gaussian_bound", "best Gaussian: bound, nats", "{:.3f}"),
        Column("gaussian_chain_kl", "its samples: KL, nats", "{:.3f}"),
        *(column for name in CHAINS for column in _of_chain(name)),
        Column("exact_floor_energy", "floor: energy", "{:.4f}"),
    ),
    _schedules_figure,
    lambda rows: (
        "best Gaussian on 25 Gaussians, KL of its samples in nats (bound, energy distance, modes of 25): "
        + "; ".join(
            f"{row} {v['gaussian_chain_kl']:.2f} ({v['gaussian_bound']:.2f}, {v['gaussian_energy']:.4f}, "
            f"{v['gaussian_modes']:.0f})"
            for row, v in ((row, rows[row]) for row in ("vp, T = 4", "vp, T = 16", "optimal, T = 4", "optimal, T = 10"))
        )
    ),
    "Gaussian steps must be small (section 3); one schedule, vp",
    "?T=10&schedule=optimal&denoisers=exact,gaussian,mean,ddgan",
    note="25 Gaussians, 20,000 samples, seed 0. All chains start from the same noise. The file also has the KL of "
    "the modes and SW₂. Optimal has the T levels with the least bound for the best Gaussian, from log-SNR −10 to at "
    "most 5 unless the row has a span. The rows 'optimal 0 to 5' start at log-SNR 0; there the bound is below .1 nats "
    "from T = 10 on. The exact law needs "
    "one step on every schedule. The other schedules have their default ends. The bound is an upper limit. The KL of "
    "the samples themselves, an integral over grids, is smaller: .10 nats where the bound is .49 (optimal, T = 4), "
    ".22 where it is .51 (vp, T = 32). No number is a verdict alone. The energy distance hardly sees samples between "
    "the modes: on vp at T = 32 the best Gaussian's energy distance is not above the floor, but 16 % of its samples "
    "lie between the modes and their KL is .22 nats. The KL and the energy distance order schedules differently: at "
    "T = 4, the samples of optimal have a lower KL than those of geometric (.10 and .79 nats) and a larger energy "
    "distance (.0098 and .0014), because its modes get unequal shares. DDPM has no finite bound, because its last "
    "step adds no noise. Where 90 % or more of DDPM's samples are on a mode and it covers all 25 modes, its modes "
    "are too narrow: at most .89 of the true width under karras .05 to 2, at most .54 under every other schedule, at "
    "T up to 64. One DDGAN serves all rows. It knows log-SNRs up to 5.05; – marks schedules that go beyond. Its "
    "energy distance is at most .0006 in every row that it has, its modes are .90 to .96 of the true width, and more "
    "than one step does not make it better. Under optimal it is a little worse from T = 12 on.",
    beside=lambda rows: tuple(
        Beside(f"best Gaussian on {row}: KL of samples", f"{rows[row]['gaussian_chain_kl']:.2f} nats", theirs)
        for row, theirs in {"vp, T = 4": "steps must be small", "vp, T = 16": "–", "optimal, T = 4": "–"}.items()
    ),
    chosen=lambda result: result.setting["denoiser"] == "gaussian",
)


# ---------------------------------------------------------------- 11. rivals

NAMES = {DATA: "25 Gaussians", "mnist": "MNIST", "cifar10": "CIFAR-10"}
WALKED = {
    DATA: ("vp", "geometric", "karras .05 to 2", "optimal"),
    "mnist": ("vp", "optimal"),
    "cifar10": ("vp", "optimal"),
}
MOST = (1, 2, 4, 8, 16, 32, 50, 64)  # NFE
OF_POINTS, OF_NETWORKS, OF_FEW = (1, 2, 4, 8, 16, 32, 64), (4, 8, 16, 32, 50), (1, 2, 4, 8)
ANEW = f"{NAMES[DATA]}, vp, trained anew"  # the start of a row's name; SEEDS trainings, each of UPDATES
SEEDS = range(5)
# of some three minutes of one core each
UPDATES = {"ddgan": 4000, "mixture": 12_000, "consistency": 12_000, "regression": 24_000}
# names in the figure, whose panels say if the mean is exact or learned
SERIES = {
    "exact": "exact law", "gaussian": "best Gaussian", "mean": "DDPM with the exact mean", "flow": "exact flow map",
    "regression": "learned Gaussian", "learned-ddim": "DDIM", "learned-dpm": "DPM-Solver++",
}  # fmt: skip
PAPERS = {"CIFAR-10, vp: DDGAN": 3.75, "CIFAR-10, vp: DDIM, learned": 4.67}  # FID at NFE 4 and 50


def _steps(solver: Solver, budgets: Sequence[int]) -> dict[int, int]:
    """Map each budget of NFE to the most steps T that it pays for. A budget that buys no more steps is left out."""
    found: dict[int, int] = {}
    for most in budgets:
        T = max(T for T in range(1, most + 1) if solver.nfe(T) <= most)
        if T not in found.values():
            found[most] = T
    return found


def _budgets(data: str, method: str) -> Sequence[int]:
    if data in SETS:
        return OF_FEW if method == "ddgan" else (*OF_FEW[:2], *OF_NETWORKS)
    return OF_FEW if method == "flow" else OF_POINTS  # more steps of the exact flow end at the same x_0


def _methods(data: str) -> list[str]:
    """Name all methods that the data have. Images have only learned methods."""
    of_images = ("ddgan", "regression")
    return [name for name, m in METHODS.items() if (m.model in of_images if data in SETS else name != "official")]


def _rivals(
    seed: int,
    data: str,
    schedule: str,
    method: str,
    T: int,
    most: int,
    n: int,
    weights: Sequence[str] = (),
    span: Sequence[float] = (),
    updates: int = 0,
    label: str | None = None,
) -> dict[str, Any]:
    if data in SETS and not (find_images(data) and find_images(data, "test")):
        raise Refused(f"floor, precision and recall need the images: python -m ddgan data {data} gets them")
    if updates:
        numbers = _anew(seed, method, T, n, updates)
    else:
        numbers = _judged(Request(data, (method,), T, schedule, _span(span), seed, n, label=label))
    if "failed" in numbers:
        return numbers
    of = "cfd" if data in SETS else "energy"
    distance, floor = numbers.pop(of), numbers.pop(f"floor_{of}")
    numbers = {"nfe": METHODS[method].solver.nfe(T), "distance": distance, **numbers}
    return {f"{key}_{most}": value for key, value in numbers.items()} | {"floor": floor}


def _anew(seed: int, method: str, T: int, n: int, updates: int) -> dict[str, Any]:
    """Train a method's model on 25 Gaussians and judge its samples in T steps of vp."""
    model, solver, law = METHODS[method].model, METHODS[method].solver, toy(DATA)
    config = PRESETS[DATA if model == "ddgan" else f"{DATA}-{model}"]
    denoiser, *_ = trained(replace(config, seed=seed, steps=updates))
    (x_0,) = draw(Schedule.vp(T), denoiser, seeds(seed, n), law.shape, at_once=n, solver=solver)
    found = evaluate(law, n, lambda _: x_0)
    return {key: v for key, v in found.items() if key not in ("of_modes", "samplings")}


def _anew_cells(quick: bool) -> list[Cell]:
    """List the cells of models that are trained anew for each seed, by as many updates each."""
    cells = []
    for seed, method in product(SEEDS[: 1 if quick else None], _methods(DATA)):
        if updates := 0 if METHODS[method].closed else UPDATES[METHODS[method].model]:
            budgets = (4,) if quick else OF_NETWORKS[:-1] if METHODS[method].model == "regression" else OF_FEW
            sizes = {"n": 2000, "updates": 200} if quick else {"n": N, "updates": updates}
            for most in budgets:
                setting = {"data": DATA, "schedule": "vp", "method": method, "T": most, "most": most, **sizes}
                cells.append(Cell(f"{ANEW}: {METHODS[method].label}", seed, setting))
    return cells


def _rivals_cells(quick: bool) -> list[Cell]:
    """List the cells. A method without weights has none."""
    cells = []
    for data, walks in WALKED.items():
        n = (100 if data in SETS else 2000) if quick else N_IMAGES if data in SETS else N
        for walk, method in product(walks, _methods(data)):
            if "none" in (used := _weights(data, method, walk)):
                continue
            for most, T in _steps(METHODS[method].solver, (4,) if quick else _budgets(data, method)).items():
                setting = {"data": data, **_walk(walk), "method": method, "T": T, "most": most, "n": n, "weights": used}
                setting |= no_class(data, method)
                cells.append(Cell(f"{NAMES[data]}, {walk}: {METHODS[method].label}", 0, setting))
    return cells + _anew_cells(quick)


def _raced(results: list[Result], start: str, learned: bool | None = None) -> Race | None:
    """Make the panel of the rows that start so. `learned`: with a trained model (True), without one (False), or all."""
    series: dict[str, list[tuple[float, float]]] = {}
    floor, axis = 0.0, ""
    for r in results:
        method, most = r.setting["method"], r.setting["most"]
        asked = learned is None or method == "ddgan" or METHODS[method].closed is not learned
        if asked and r.row.startswith(start) and f"distance_{most}" in r.numbers:
            name = SERIES.get(method, METHODS[method].label)
            series.setdefault(name, []).append((r.numbers[f"nfe_{most}"], r.numbers[f"distance_{most}"]))
            floor, axis = r.numbers["floor"], "CFD" if r.setting["data"] in SETS else "energy distance"
    return Race(axis, series, floor) if series else None


def _rivals_figure(results: list[Result]) -> go.Figure:
    panels = {
        f"{kind}, {walk}": _raced(results, f"{NAMES[DATA]}, {walk}:", learned)
        for walk in WALKED[DATA]
        for kind, learned in (("exact", False), ("learned", True))
        if walk != "geometric"
    }
    for data in (data for data in NAMES if data in SETS):
        panels |= {f"{NAMES[data]}, {walk}": _raced(results, f"{NAMES[data]}, {walk}:") for walk in WALKED[data]}
    setting = (
        f"Exact, learned: 25 Gaussians, {N:,} samples; images: {N_IMAGES:,};<br>T steps on the schedule named; seed 0; "
        "the DDGAN is always learned;<br>dotted: noise floor; a hollow mark is not above it"
    )
    drawn = {title: race for title, race in panels.items() if race and len(race.series) > 1}
    return races(drawn, "NFE", setting)


def _rivals_beside(rows: dict[str, dict[str, float]]) -> tuple[Beside, ...]:
    walks = {method.label for method in METHODS.values() if method.group.startswith(("Gaussian", "Solvers"))}

    def both(data: str) -> str:
        """The DDGAN, and the best of the Gaussian steps and solvers."""
        scores = {row.removeprefix(f"{data}: "): v["distance_8"] for row, v in rows.items() if "distance_8" in v}
        ours, best = scores["DDGAN"], min(walks & scores.keys(), key=lambda name: scores[name])
        return f"DDGAN {ours:.4f}; {best} {scores[best]:.4f}"

    return (
        Beside("25 Gaussians, ≤ 8 NFE: energy distance", both("25 Gaussians, vp")),
        Beside("MNIST, ≤ 8 NFE: CFD", both("MNIST, vp")),
        Beside("CIFAR-10, DDGAN, 4 NFE", f"CFD {rows['CIFAR-10, vp: DDGAN']['distance_4']:.3f}", "FID 3.75"),
    )


def _rivals_chosen(result: Result) -> bool:
    """The methods with the exact mean and the DDGAN on 25 Gaussians, and all on MNIST, both on vp."""
    method = result.setting["method"]
    points = result.row.startswith("25 Gaussians, vp:") and (method == "ddgan" or METHODS[method].closed)
    return points or result.row.startswith("MNIST, vp:")


RIVALS = Experiment(
    "rivals",
    "Every way to take few steps",
    "On vp with the paper's range no Gaussian step and no solver of a mean comes near 25 Gaussians with an NFE of 8, "
    "while the DDGAN, the mixture and the consistency model do with 1; on digits and vp the DDGAN is ahead with an NFE "
    "of 1 to 4.",
    _rivals_cells,
    _rivals,
    (
        *(Column(f"distance_{most}", f"≤ {most} NFE", "{:.4f}") for most in MOST),
        Column("floor", "floor", "{:.4f}"),
        Column("modes_8", "at ≤ 8: modes", "{:.0f}"),
        Column("on_mode_8", "on a mode", "{:.1%}"),
        Column("width_8", "width", "{:.2f}"),
        Column("precision_8", "at ≤ 8: precision", "{:.2f}"),
        Column("recall_8", "recall", "{:.2f}"),
        Column("class_kl_8", "class KL", "{:.2f}"),
        Column("clear_8", "clear", "{:.2f}"),
        Column("fid", "FID", "{:.2f}", PAPERS, theirs="FID, paper (DDGAN: 4 NFE, DDIM: 50)"),
    ),
    _rivals_figure,
    lambda rows: (
        "distance at 8 NFE or fewer (energy distance of points, CFD of images): "
        + "; ".join(
            f"{row} {v['distance_8']:.4f} (floor {v['floor']:.4f})" for row, v in rows.items() if ", vp: D" in row
        )
    ),
    "CIFAR-10, FID: DDGAN 3.75 at 4 NFE, DDIM 4.67 at 50, both under vp",
    "?T=8&denoisers=exact,flow,ddgan,gaussian,ddim,dpm",
    note="The question is which way of sampling is nearest to the law at the same number of network evaluations "
    "(NFE), and how much depends on the schedule. Distance means the energy distance of points, from 20,000 samples, "
    "and the CFD of images, from 1,000 samples. All methods start from the same noise, seed 0. A column ≤ N has the "
    "most steps that N evaluations pay for; Heun takes two evaluations for each step but the last. The DDGAN and the "
    "rows that say learned use trained networks; all other rows use the exact law of the toy. The share on a mode is "
    "no verdict without the modes, the width and the distance beside it. Vp has the paper's range, β from .1 to 20. "
    "On vp at 8 NFE no solver of the exact mean has more than 5.1 % of its samples on a mode. Under karras .05 to 2 "
    "DPM-Solver++ with the exact mean is near the floor at 8 NFE. That span was chosen for it on this law, and its "
    "modes are a third of the true width. The DDGAN is near the floor at 1 NFE; it does not know the levels of karras "
    ".05 to 2 with more than one step. On MNIST both networks are told the class of each image. The learned Gaussian "
    "saw 1.4 million images, the DDGAN 3.2 million; its z has a variance of 1.5 where xₜ is noise. On vp the DDGAN is "
    "nearer at 1, 2 and 4 NFE (CFD .0034, .0038 and .0039; DPM-Solver++ with the learned Gaussian .55, .12 and "
    ".0100). At 8 NFE the two are about as near (.0041 and .0047), and DPM-Solver++ varies a little more (recall .90 "
    "and .89). Optimal is made for DDPM's chain: DDIM and DPM-Solver++ have a higher CFD under it than under vp at 4 "
    "and at 8 NFE. Trained anew: every learned method is trained again on 25 Gaussians, vp, for each seed, the DDGAN "
    "with 4,000 updates, mixture and consistency model with 12,000, the learned Gaussian with 24,000, which take "
    "about as long. So trained, the consistency model is nearer to the law than the DDGAN at 1 to 8 NFE with all five "
    "seeds, and the mixture at 2 to 8 NFE (energy distance at most .0001; DDGAN .0003 to .0015). At 1 NFE the mixture "
    "is nearer with four seeds of five. No walk of the learned Gaussian is near at 8 NFE or fewer (.0101 or more). On "
    "CIFAR-10 no sampler is near (floor .0045). Both networks are told no class there, as the learned Gaussian knows "
    "none. The DDGAN at 1 NFE (CFD .287 on vp) is nearer than every walk of the learned Gaussian with up to 50 (least "
    ".366, DPM-Solver++ at 16). The learned Gaussian saw .9 million images, the DDGAN 3.3 million. Fewer samples of "
    "the learned Gaussian lie among real images (precision at 8 NFE on vp .67 to .74; DDGAN .81). Optimal helps no "
    "walk of the learned Gaussian there.",
    beside=_rivals_beside,
    chosen=_rivals_chosen,
)

EXPERIMENTS = (SCHEDULES, RIVALS)
