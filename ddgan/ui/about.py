"""The head of the page with its guided tour (assets/page.js drives the real controls), and the tab *About*."""

from __future__ import annotations

from functools import partial

import gradio as gr

from .canvas import script
from .diagram import machine
from .words import glossary, glossed

__all__ = ["build", "head"]

_HEAD = """<div class="hero"><a class="skip-link" href="#stage">Skip to the picture</a><h1>DDGAN Explorer</h1>
<p>Each step draws x<sub>s</sub> from a noisier x<sub>t</sub>. In the paper's few steps x<sub>s</sub>
can have <b>[[mode|many modes]]</b>: a GAN learns them, a [[Gaussian]] cannot. Try other [[schedule|schedules]].
<button type="button" data-tour>Take the tour</button></p></div>"""
_MACHINE = r"""
## What you are looking at

A diffusion process turns data $x_0$ into noise $x_T$. A generative model walks back, from $x_t$ to a cleaner $x_s$.
Each step has a [[law]]:

$$q(x_s \mid x_t) = \int q(x_s \mid x_t, x_0)\, q(x_0 \mid x_t)\, dx_0 .$$

The last factor says which clean data this $x_t$ could have come from; often there are many. In a short step that
hardly matters, so a [[Gaussian]] is enough: DDPM takes a thousand short steps. In a long step $x_s$ can have
**[[mode|many modes]]**. A [Denoising Diffusion GAN](https://arxiv.org/abs/2112.07804) takes a few long steps:
"""
_TEXT = (
    r"""
The generator [[G]] guesses $x_0$ from $x_t$, the noise level and fresh random numbers [[z]]. Then $x_s$ is drawn from
the [[posterior]], a Gaussian with a formula. The discriminator [[D]] compares such steps with real ones, and so
teaches G as many modes as it needs.

## The panels

In *Denoise* every data set is a mixture of Gaussians, so a formula gives the truth at every step. All panels use the
**same noise**. They differ in how they find $x_0$ given $x_t$; solvers, the flow and the consistency model also
differ in the step that follows.

| panel | draws $x_0$ from |
|---|---|
| Exact law | the true $q(x_0 \mid x_t)$ |
| DDGAN | a network, trained adversarially |
| Best Gaussian | the Gaussian with the true mean and covariance, which is nearest in [[KL]] |
| Learned Gaussian (DDPM) | a network trained by least squares; it returns a mean and draws nothing |
| Exact mean (DDPM) | the true mean, which a perfect network of that kind would return |
| DDIM, DPM-Solver++, Heun (EDM) | the true or the learned mean, by other rules and without noise """
    r"""(with η = 1, DDIM is the row above) |
| Exact flow map | the point to which the probability flow carries $x_t$ |
| Learned mixture | a network that gives a mixture of 32 Gaussians, trained by likelihood |
| Consistency model | a learned flow map, without z; each further step puts new noise on its $x_0$ |

The numbers judge the $x_0$ that is predicted from the state shown, drawn in orange: its [[energy distance]] (the noise
floor in brackets), how many modes get at least a tenth of their share, the share [[on a mode]], the
[[KL of the histogram]], the [[width]] of the modes, and [[SW₂]]. No number is a verdict alone. A star marks the least
energy distance, and any less than a noise floor above it; where that is true of all, there is none. In up to one
seed of 20 chance takes the star even from the exact law. Each panel says its evaluations ([[NFE]]).

A bar behind the scrubber shows what a Gaussian loses in that step: the [[KL]] from the true law of $x_s$ to its best
Gaussian, averaged over $x_t$. It is full at 5 [[nat|nats]].

*Mean step* draws $E[x_s \mid x_t] - x_t$ as arrows. The best Gaussian has the same arrows as the exact law:
only the draws around them differ. *Add noise* plays the process that all panels undo.

A click asks about one $x_t$; each denoiser then draws 800 times. The *best discriminator* is the log of the true
density over that of the DDGAN's draws, both blurred a little: zero where the DDGAN is right. *Grid of z* shows how
[[G]] lays the plane of z over the plane of $x_0$.

## What the claim needs

The claim is about the paper's [[schedule]], *vp*, and about steps that draw. These numbers are measured on
25 Gaussians; the tab *Evidence* has all of them.

- **On *vp* with the paper's range no Gaussian step and no solver works in few steps.** At T = 4 the best Gaussian has
  3 % of its samples on a mode, DDIM 3 %, DPM-Solver++ 3 % and Heun, with 7 evaluations, 1 %.
- **With well-chosen levels a Gaussian needs few steps.** On *optimal* its [[bound]] is .49 nats at T = 4 and .11 at
  T = 10; the KL of its samples is .10 nats at T = 4.
- **A deterministic map needs no z.** From pure noise *Exact flow map* is exact in one step: the choice of a mode lies
  in $x_T$. It has to be learned, which consistency models do.
- **Many modes need not mean a GAN.** A mixture density network draws them in one step; images need a richer density.
- **Data this simple need one step**; images are harder. On CIFAR-10 the paper has an [[FID]] of 14.6 in one step and
  3.75 in four. On MNIST and *vp* our DDGAN is ahead with one to four evaluations; with eight, DPM-Solver++ is as near.
  After its training, its z was given a variance of 1.5 where $x_t$ is noise: its samples varied too little.
- **A Gaussian that is told the class has fewer modes to miss.** Of MNIST at T = 4, 56 % of the learned Gaussian's
  digits are clear if it is told no class, and 98 % if it is; of the DDGAN's 80 % and 96 %. But told classes, the
  Gaussian's digits vary less: a [[recall]] of .51 against .84.

## Images, your own data, training

In *Images* the law is not known, but a training set is. Given $x_t$, each of its images has an exact weight; the
*effective number of candidates* is how many share the weight. While it is large, draws have to differ from z to z.
*Begin with an image* adds noise to a picture up to $x_t$ and takes the remaining steps.

*Your own data* takes points that you draw, or two columns of a table. Each point becomes a small Gaussian, so the
exact law is known at once. *Train* learns a DDGAN for any data while you watch. It then stands among the denoisers,
for everybody who has the link.

## Keys

| key | does |
|---|---|
| ← → | one step (on the scrubber or the panels) |
| Home, End | the first and the last state (there too) |
| Page up, Page down | several steps (on the scrubber) |
| space | play, pause (on the scrubber or the panels) |
| n | add noise to data, then play back |
| < > | play slower, faster |
| p | the panels alone, for a projector; once more, or Esc, brings the page back |
| Ctrl Z, or the browser's Back | take back the last change (in *Denoise*) |
| Ctrl Z | take back the last new noise (in *Images*) |
| ↑ ↓ | hold another sample (on the panels); Esc lets go (of points) |
| Enter | the same sample of the next model (on the panels of *Images*) |
| Esc | close a list, the tour, the answer beside the panels |
| arrows, Page up, Page down, Home, End on a dot of the schedule | move it, and so bend the schedule |
| arrows in *Where a Gaussian fails* | move $x_t$; with Shift faster |
| arrows in a landscape | turn it; with Shift faster; + and − zoom; Home begins again |
| arrows on a handle in *Why* | move it; with Shift in small steps |
| arrows on a drawing board | move its cursor; space draws, Ctrl Z takes back, Delete erases (points) |

## Links

The address holds the whole picture, the seed included: others who open it see the same, point for point. Add
`&hide=head`, `&hide=controls` or `&hide=posterior` to leave parts out, for a lecture or an embedded page; with
`&present=1` the panels stand alone.
"""
)


def head() -> None:
    """The title, one sentence, the tour, and what terms mean; it has no events of Gradio's."""
    gr.HTML(html_template=glossed(_HEAD) + glossary(), js_on_load=script("page"), apply_default_css=False)


def build() -> None:
    """The tab: a text, and the machine in it."""
    delimiters = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
    text = partial(gr.Markdown, latex_delimiters=delimiters, elem_classes="about", sanitize_html=False)  # it is ours
    text(glossed(_MACHINE))
    gr.HTML(machine(), apply_default_css=False, elem_classes="about")
    text(glossed(_TEXT))
