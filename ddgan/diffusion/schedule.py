"""The forward process: how much signal is left after t of T steps.

    q(x_t | x_0) = N(a_t x_0, sigma_t^2 I),    a_t = sqrt(alpha_bar_t),    sigma_t^2 = 1 - alpha_bar_t

A schedule is the table alpha_bar_0 > alpha_bar_1 > ... > alpha_bar_T with alpha_bar_0 = 1 exactly. Everything else
follows from it. For any 0 <= s < t <= T, with r = a_t / a_s and v = sigma_t^2 - r^2 sigma_s^2,

    q(x_t | x_s)      = N(r x_s, v I)
    q(x_s | x_t, x_0) = N(c_0 x_0 + c_t x_t, var I)
    c_0 = a_s v / sigma_t^2,    c_t = r sigma_s^2 / sigma_t^2,    var = v sigma_s^2 / sigma_t^2

alpha_bar_0 = 1 makes the last posterior (s = 0) a point mass at x_0, so no sampler needs a branch for its last step.
`t` always names the noisier side of a step and `s` the cleaner one. Networks never see these indices: they are
conditioned on the level, the log-SNR log(alpha_bar / (1 - alpha_bar)), which means the same under every schedule.

Source: Xiao, Kreis, Vahdat, "Tackling the Generative Learning Trilemma with Denoising Diffusion GANs", ICLR 2022,
eq. 1; the posterior is eq. 7 of Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import torch
from torch import Tensor

from ..errors import Refused
from .gaussian import Gaussian, floats, like

__all__ = [
    "BOTH_ENDS",
    "CURVES",
    "FAMILIES",
    "MAX_T",
    "U_0",
    "Family",
    "Schedule",
    "alpha_sigma",
    "posterior_weights",
    "span_of",
    "span_through",
]

MAX_T = 1000
U_0 = 1e-3  # the continuous time at which step 0 sits; alpha_bar is divided by its value there


@dataclass(frozen=True)
class Family:
    """How levels are spread, by two parameters lo and hi, with their defaults and admissible range."""

    formula: str
    names: tuple[str, str]
    default: tuple[float, float]
    bounds: tuple[float, float]


FAMILIES = {
    "vp": Family("alpha_bar = exp(-lo u - (hi - lo) u^2 / 2)", ("beta_min", "beta_max"), (0.1, 20.0), (0.0, 50.0)),
    "linear": Family("sigma^2 = lo + (hi - lo) u", ("first variance", "last variance"), (1e-4, 0.9999), (0.0, 0.99999)),
    "cosine": Family("a = cos(pi/2 (lo + (hi - lo) u))", ("first angle", "last angle"), (0.008, 0.995), (0.0, 0.999)),
    "geometric": Family(
        "sigma^2 = lo (hi / lo)^u", ("first variance", "last variance"), (0.01, 0.9999), (1e-6, 0.99999)
    ),
    "log-snr": Family(
        "log(a^2 / sigma^2) evenly spread from lo at x_T to hi at x_1", ("lowest log-SNR", "highest log-SNR"),
        (-10.0, 5.0), (-15.0, 15.0),
    ),
    "karras": Family(
        "(sigma / a)^(1/7) evenly spread from lo at x_1 to hi at x_T", ("least sigma / a", "greatest sigma / a"),
        (0.08, 150.0), (0.001, 1000.0),
    ),
    "optimal": Family(
        "the levels of the least sum of KL(q(x_s | x_t) || best Gaussian), from log-SNR lo to at most hi before x_0",
        ("log-SNR of x_T", "highest log-SNR"), (-10.0, 5.0), (-15.0, 15.0),
    ),
}  # fmt: skip
CURVES = ("vp", "linear", "cosine", "geometric")  # alpha_bar(u): their grids of T = 1, 2, 4, 8 are nested
BOTH_ENDS = ("vp", "log-snr", "karras", "optimal")  # their a_1 too is monotone in one of lo and hi
RHO = 7.0  # of karras: how much denser the levels are towards the data


def alpha_sigma(level: Tensor) -> tuple[Tensor, Tensor]:
    """(a, sigma) of a log-SNR level (B,), in float64: a^2 = sigmoid(level), sigma^2 = sigmoid(-level)."""
    level = level if level.device.type == "mps" else level.double()  # which MPS lacks
    return torch.sigmoid(level).sqrt(), torch.sigmoid(-level).sqrt()


@dataclass(frozen=True, eq=False)
class Schedule:
    """alpha_bar (T+1,) in float64, alpha_bar[0] == 1, strictly decreasing and positive. Refused otherwise.

    `family` and `span` are those of `named`; a schedule that was made otherwise has none. That of betas (T,) is
    Schedule(torch.cat([torch.ones(1), (1 - betas).cumprod(0)])).
    """

    alpha_bar: Tensor
    family: str = ""
    span: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        table = floats(self.alpha_bar).double()
        if table.ndim != 1 or len(table) < 2:
            raise Refused(f"alpha_bar must have shape (T + 1,), T from 1 on, got {tuple(table.shape)}")
        if table[0] != 1:
            raise Refused(f"alpha_bar must start at 1, where the data are clean, got {float(table[0])}")
        if not (falls := (table.diff() < 0) & (table[1:] > 0)).all():
            t = falls.tolist().index(False) + 1
            raise Refused(
                f"alpha_bar must fall strictly, staying positive, got {float(table[t])} at t = {t} "
                f"after {float(table[t - 1])}"
            )
        object.__setattr__(self, "alpha_bar", table)

    @classmethod
    def named(cls, family: str, T: int, span: tuple[float, float] | None = None) -> Schedule:
        """T steps along one of FAMILIES, whose (lo, hi) is `span`; with its default vp is the paper's schedule.

        Of CURVES: alpha_bar(u_t) / alpha_bar(u_0), u_t = U_0 + (1 - U_0) t / T. The division makes step 0 clean data;
        a family's formula is that of alpha_bar(u) before it. Of log-snr and karras (Karras et al. 2022, eq. 5): T
        levels, one at each end of the span, and then x_0. Refused for an unknown family, a T outside 1..MAX_T, a span
        out of bounds, and for optimal, which is of a law (ddgan.optimal).
        """
        lo, hi = span = span_of(family, T, span)
        u = U_0 + (1 - U_0) * torch.arange(T + 1, dtype=torch.float64) / T
        match family:
            case "vp":
                log_alpha_bar = -lo * u - (hi - lo) * u**2 / 2
            case "linear":
                log_alpha_bar = torch.log1p(-(lo + (hi - lo) * u))
            case "cosine":
                log_alpha_bar = 2 * torch.log(torch.cos(torch.pi / 2 * (lo + (hi - lo) * u)))
            case "geometric":
                log_alpha_bar = torch.log1p(-lo * (hi / lo) ** u)
            case "log-snr":
                return replace(cls.of_levels(_spread(lo, hi, T)), family=family, span=span)
            case "karras":
                levels = -2 * RHO * _spread(hi ** (1 / RHO), lo ** (1 / RHO), T).log()
                return replace(cls.of_levels(levels), family=family, span=span)
            case "optimal":
                raise Refused("the optimal schedule is of a law: ddgan.optimal(law, T) finds it")
        return cls(torch.exp(log_alpha_bar - log_alpha_bar[0]), family, span)

    @classmethod
    def of_levels(cls, levels: Tensor | Sequence[float]) -> Schedule:
        """The schedule whose x_T, ..., x_1 have these log-SNRs (T,), rising; Refused where they do not rise.

        That of falling noise-to-signal ratios sigma, as Karras et al. 2022 count noise, is of_levels(-2 sigma.log()).
        """
        levels = floats(levels).double()
        if levels.ndim != 1 or not (levels.diff() > 0).all():
            few = ", ".join(f"{level:g}" for level in levels.flatten()[:4].tolist())
            raise Refused(f"the log-SNRs of x_T, ..., x_1 must be numbers that rise, got {few}")
        alpha_bar = torch.sigmoid(levels).flip(0)
        return cls(torch.cat([alpha_bar.new_ones(1), alpha_bar]))

    @classmethod
    def vp(cls, T: int, beta_min: float = 0.1, beta_max: float = 20.0) -> Schedule:
        """The paper's variance-preserving schedule: alpha_bar(u) = exp(-beta_min u - (beta_max - beta_min) u^2 / 2)."""
        return cls.named("vp", T, (beta_min, beta_max))

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.alpha_bar) - 1

    def to(self, device: torch.device | str) -> Schedule:
        """The same schedule there. Off the CPU steps are not checked: that would wait for the device."""
        return replace(self, alpha_bar=self.alpha_bar.to(device))

    def at(self, t: int | Tensor) -> Tensor:
        """alpha_bar_t as (B,), or (1,) for a plain int, float64, where the schedule is."""
        if isinstance(t, int) and 0 <= t <= self.T:
            return self.alpha_bar[t : t + 1]
        t = torch.as_tensor(t, device=self.alpha_bar.device).reshape(-1)
        if t.is_floating_point():
            raise Refused(f"t counts steps, a whole number in 0..{self.T}, got {t.tolist()[:4]}")
        if self.alpha_bar.is_cpu and len(off := t[(t < 0) | (t > self.T)]):
            raise Refused(f"t must be in 0..{self.T}, got {off.tolist()[:4]}")
        return self.alpha_bar[t]

    def level(self, t: int | Tensor, x_t: Tensor | None = None) -> Tensor:
        """The log-SNR log(alpha_bar_t / (1 - alpha_bar_t)), (B,) or (1,) for a plain int; +inf at t = 0.

        With x_t (B, *D) it is (B,), of its dtype and where it is: as a network takes it.
        """
        level = torch.logit(self.at(t))
        return level if x_t is None else level.to(x_t).expand(len(x_t))

    def marginal(self, x_0: Tensor, t: int | Tensor) -> Gaussian:
        """q(x_t | x_0) = N(a_t x_0, sigma_t^2 I) for x_0 (B, *D). Refused for whole numbers."""
        alpha_bar, x_0 = self.at(t), _floating(x_0)
        return Gaussian(like(alpha_bar.sqrt(), x_0) * x_0, like(1 - alpha_bar, x_0))

    def transition(self, x_s: Tensor, s: int | Tensor, t: int | Tensor) -> Gaussian:
        """q(x_t | x_s) = N(r x_s, (1 - r^2) I), r = a_t / a_s, s < t, for x_s (B, *D)."""
        (alpha_s, alpha_t), x_s = self._pair(s, t), _floating(x_s)
        r2 = alpha_t / alpha_s
        return Gaussian(like(r2.sqrt(), x_s) * x_s, like(1 - r2, x_s))

    def posterior(self, x_0: Tensor, x_t: Tensor, s: int | Tensor, t: int | Tensor) -> Gaussian:
        """q(x_s | x_t, x_0), s < t; a point mass at x_0 when s = 0."""
        (c_0, c_t, var), x_0, x_t = posterior_weights(*self._pair(s, t)), _floating(x_0), _floating(x_t)
        return Gaussian(like(c_0, x_t) * x_0 + like(c_t, x_t) * x_t, like(var, x_t))

    def _pair(self, s: int | Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """(alpha_bar_s, alpha_bar_t); Refused unless s < t."""
        alpha_s, alpha_t = self.at(s), self.at(t)
        if self.alpha_bar.is_cpu and not (alpha_t < alpha_s).all():
            raise Refused(f"a step goes from t to an earlier s < t, got s = {s}, t = {t}")
        return alpha_s, alpha_t


def _floating(x: Tensor) -> Tensor:
    """x, whose type can hold what is between whole numbers: a bare cast would round a_t and sigma_t to 0."""
    x = torch.as_tensor(x)
    if not x.is_floating_point():
        raise Refused(f"noise is for floating-point numbers, images in [-1, 1], got {x.dtype}")
    return x


def posterior_weights(alpha_s: Tensor, alpha_t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(c_0, c_t, var) of q(x_s | x_t, x_0) = N(c_0 x_0 + c_t x_t, var I), where alpha_bar has these values."""
    r2 = alpha_t / alpha_s
    # v = sigma_t^2 - r^2 sigma_s^2 = 1 - r^2 for a variance-preserving process
    c_0 = alpha_s.sqrt() * (1 - r2) / (1 - alpha_t)
    c_t = r2.sqrt() * (1 - alpha_s) / (1 - alpha_t)
    return c_0, c_t, (1 - r2) * (1 - alpha_s) / (1 - alpha_t)


def span_of(family: str, T: int, span: tuple[float, float] | None) -> tuple[float, float]:
    """The (lo, hi) of T steps of a family, its default unless given. Refused for what is no family, T or span."""
    if family not in FAMILIES:
        raise Refused(f"schedule must be one of {', '.join(FAMILIES)}, got {str(family)[:40]!r}")
    if isinstance(T, bool) or not isinstance(T, Integral) or not 1 <= T <= MAX_T:
        raise Refused(f"T must be a whole number in 1..{MAX_T}, got {T!r}")
    kind = FAMILIES[family]
    ends = tuple(kind.default if span is None else span)
    if len(ends) != 2 or not kind.bounds[0] <= ends[0] < ends[1] <= kind.bounds[1]:
        raise Refused(
            f"the span of the {family} schedule, {' and '.join(kind.names)}, must be two rising numbers "
            f"in {kind.bounds[0]:g}..{kind.bounds[1]:g}, got {', '.join(f'{v:g}' for v in ends)}"
        )
    return ends


def span_through(family: str, T: int, span: tuple[float, float] | None, t: int, a: float) -> tuple[float, float]:
    """The (lo, hi) whose schedule has a_t = a at t = T, or of BOTH_ENDS at t = 1, by one of the two numbers.

    As near as the bounds allow, found by halving: a_t is monotone in that number. Of optimal, whose levels a law
    chooses, the ends of its range. Refused for another t, an a outside 0..1, and what `span_of` refuses.
    """
    lo, hi = span_of(family, T, span)
    states = [T, 1] if family in BOTH_ENDS else [T]
    if t not in states or not 0 <= a <= 1:
        where = " or ".join(map(str, states))
        raise Refused(f"the {family} curve is moved at t = {where}, to an a in 0..1, got t = {t}, a = {a:g}")
    levels = family in ("log-snr", "optimal")  # of a rising span of log-SNRs the first is that of x_T
    low, high = FAMILIES[family].bounds
    moved = (t == T) != levels  # whether hi, else lo
    kept, room = (lo, high - lo) if moved else (hi, hi - low)
    gap = min(1e-3 * abs(kept) + 1e-6, room / 2)  # the least that is left between the two
    low, high = (lo + gap, high) if moved else (low, hi - gap)

    def signal(value: float) -> float:
        spans = (lo, value) if moved else (value, hi)
        return float(Schedule.named("log-snr" if levels else family, T, spans).alpha_bar[t].sqrt())

    ends, rises = (low, high), signal(high) > signal(low)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if (signal(middle) < a) == rises else (low, middle)
    near = (min(max(float(f"{value:.5g}"), ends[0]), ends[1]) for value in (*ends, low))
    found = min(near, key=lambda value: abs(signal(value) - a))
    return (lo, found) if moved else (found, hi)


def _spread(x_T: float, x_1: float, T: int) -> Tensor:
    """T numbers evenly spread between those at x_T and at x_1, the first of them where there is one."""
    return torch.linspace(x_T, x_1, T, dtype=torch.float64)
