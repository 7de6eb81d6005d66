"""The head of the page with its guided tour (assets/page.js drives the real controls), and the tab *About*."""

from __future__ import annotations

import gradio as gr

from .canvas import script

__all__ = ["build", "head"]

_HEAD = """<div class="hero"><h1>DDGAN Explorer</h1>
<p>Each step draws x<sub>s</sub> from a noisier x<sub>t</sub>. In the paper's few steps x<sub>s</sub>
can have <b>many modes</b>: a GAN learns them, a Gaussian cannot. Try other schedules.
<button type="button" data-tour>Take the tour</button></p></div>"""
_TEXT = (
    r"""
## What you are looking at

A diffusion process turns data $x_0$ into noise $x_T$. A generative model walks back, from $x_t$ to a cleaner $x_s$.
Each step has to draw from

$$q(x_s \mid x_t) = \int q(x_s \mid x_t, x_0)\, q(x_0 \mid x_t)\, dx_0 .$$

The first factor is a Gaussian in closed form. The second factor says which clean data this $x_t$ could have come
from; often there are many. A short step hardly depends on it, so a Gaussian is enough: DDPM takes a thousand short
steps. A long step depends on it, so $q(x_s \mid x_t)$ can have **many modes**. A [Denoising Diffusion
GAN](https://arxiv.org/abs/2112.07804) draws $x_0 = G(x_t, z)$, with fresh standard normal $z$ at every step. Its
generator $G$ also sees the noise level. $G$ was trained against a discriminator $D$ of pairs $(x_s, x_t)$, so it can
have as many modes as it needs. Then $x_s$ is drawn from $q(x_s \mid x_t, x_0)$ with the *posterior noise*. (A *law*
is a probability distribution.)

In few steps of *vp* the Gaussian fails on these toys in the last step; before it, noise covers the gaps between modes.
Other schedules move the loss to earlier steps. A GAN draws data as simple as these in one step too. Images are harder:
in the paper, CIFAR-10 has an FID of 14.6 in one step and 3.75 in four.

## What the claim needs

The claim is about the paper's schedule, *vp*, and about steps that draw. All numbers here are of 25 Gaussians.

- **On *vp* no Gaussian step and no solver survives few steps.** At T = 4 the best Gaussian has 3 % of its
  samples on a mode, DDIM 3 %, DPM-Solver++ 3 % and Heun, with 7 evaluations, 1 %. The schedule spends its steps where
  nothing is decided: the bound of the best Gaussian is 4.72 nats, of which the last step has 4.72.
- **With well-chosen levels a Gaussian needs few steps.** *optimal* is the T levels of the least bound from log-SNR −10
  on. It leaves .49 nats at T = 4, .16 at T = 8 and .11 at T = 10. A start at less noise leaves less: from log-SNR 0 on,
  .40 nats at T = 4. The samples are nearer than the bound says: at T = 4 a numerical integral gives .10 nats.
- **A deterministic map needs no z.** *Exact flow map* carries every x_T to an x₀ in one step, exactly; the choice of
  a mode lies in x_T. Such a map has to be learned, which consistency models do.
- **Many modes need not mean a GAN.** A mixture density network draws them too, in one step. It is a sum of 32 round
  Gaussians: it draws rings as 32 blobs, and images need a richer density.

On MNIST (*vp*, 1,000 images, both networks told the class) the DDGAN is ahead in one and two evaluations. With four,
DPM-Solver++ on the learned Gaussian is as near to the data; with eight it is nearer, a CFD of .0047 against .0088.

In *Denoise* every data set is a mixture of Gaussians, so a formula gives the truth at every step. All panels use the
**same noise**. They differ only in how they draw $x_0$ given $x_t$.

| panel | draws $x_0$ from |
|---|---|
| Exact law | the true $q(x_0 \mid x_t)$ |
| DDGAN | a network, trained adversarially |
| Best Gaussian | the Gaussian with the true mean and covariance; no Gaussian has a smaller KL(q ‖ p) in a step |
| Learned Gaussian (DDPM) | a network of the same kind, trained by least squares; it returns a mean and draws nothing |
| Exact mean (DDPM) | the true mean, which a perfect network of that kind would return |
| DDIM, DPM-Solver++, Heun (EDM) | the true mean; other rules lead from it to $x_s$, without noise. """
    r"""η = 1 makes DDIM the row above |
| DDIM and DPM-Solver++, learned | the learned mean, by the same rules |
| Exact flow map | the point to which the probability flow carries $x_t$ |

Each panel says how many **evaluations** of its denoiser the samples took. Heun takes two a step but in the last. With
*T counts evaluations* it takes half as many steps. The panel of the best Gaussian also says how far its samples are
from the law, in KL, at most: what the start loses, and what each of its steps loses.

## The numbers

A mode is a spot, a square, a moon, a ring, an arm, or a tenth of the spiral. A spot is one Gaussian; the other modes
are made of many small Gaussians.

- **Energy**: the energy distance to the law. It is zero only for equal laws and grows with every sample in a wrong
  place and every mode with a wrong share. The brackets hold its noise floor: 95 % of exact samplings score less. It is
  estimated without bias, so it can be negative.
- **Modes**: how many modes get at least a tenth of their share of samples.
- **On a mode**: the share of samples within four standard deviations of the nearest Gaussian. It is no verdict: all
  samples on one mode of 25 score 100 %.
- **KL**: the Kullback-Leibler divergence of the histogram over the modes, in nats. Exact samples score about (modes −
  1) / (2 × samples).
- **Width**: how far the samples on a mode lie from its centre; 1 is as far as in the law. GANs make modes too narrow,
  and the other numbers hardly show it: at 2,000 samples of 25 Gaussians even modes of no width mostly stay below the
  floor.
- **SW₂**: the sliced Wasserstein distance to as many exact samples. Even the exact law does not score 0.

A star marks the panel with the least energy distance. Panels that chance cannot tell from it, within one noise floor,
share the star; where that is true of all, there is none. An arrow says whether more or less is better. A panel that
beats the exact law does so by chance, or, in *On a mode*, because its modes are too narrow. The numbers judge the
$x_0$ that a denoiser predicts from the state shown.

**Behind the scrubber** stands a bar for every step; with more than 16 steps, for 16 of them. A bar shows what a
Gaussian loses there: the KL from the true law of $x_s$ to its best Gaussian, averaged over $x_t$. It is full at 5
nats.

**Below the panels** each denoiser draws 800 times for one $x_t$. The brackets hold what exact draws score, the noise
floor.

- **On a mode**: the share of draws on a mode of the true law.
- **Weights off**: half the sum of the absolute differences between the weights of the modes.
- **Energy distance** to the truth: zero for equal laws. It is estimated without bias, so it can be negative.
- **Data modes**: the modes that this $x_t$ may come from. Where the noise of a step covers the gaps between them, the
  law of $x_s$ still has one hump. The **entropy** is that of their weights.
- **KL to best Gaussian**: what no Gaussian denoiser can learn. The map shows it for every $x_t$, to about a tenth of
  a nat.

Draws are shown as points or as a kernel density estimate, and a Gaussian as its ellipse of two standard deviations.

The **best discriminator** is the log of the true density over the density of 8,000 draws of the DDGAN. It is zero
where the DDGAN is right. Both densities are blurred by half a pixel, so in the last step it shows wrong weights of
modes and hides wrong widths. Beside it stands what the DDGAN's own discriminator learned.

*In 3-D* shows the truth, the density of 8,000 draws of the DDGAN and the best Gaussian as landscapes. Heights are
square roots of densities, on one scale: the truth's peaks would hide the Gaussian otherwise. All three are blurred
alike, by the width that suits the draws, so that a DDGAN that is right looks like the truth.

## Images

In *Images* the law is not known, but a training set is. If $q(x_0)$ is uniform over its $N$ images, the exact
posterior of an $x_t$ is a list of $N$ weights. The exponential of its entropy is the **effective number of
candidates**: $N$ for pure noise, 1 at the end. While it is large, the draws for one $x_t$ have to differ from $z$ to
$z$. Least squares learns their mean, which is a blur. Pixels are drawn exactly; noise beyond ±1 is clipped. *Begin
with an image* adds noise to a picture up to $x_t$ and takes the remaining steps: strokes become images, images become
variants.

## Your own data, and training

*Your own data* takes points that you draw, or two columns of a table. Each point becomes a small Gaussian, so the
exact law is known at once; points close to each other form one mode. *Train* learns a DDGAN for any data while you
watch. The model then stands among the denoisers, for you and for everybody who has the link, and can be downloaded as
one file.

*Penalty γ*, halved, weighs the square of D's slope: at the data (R1), or at data and fakes (R1 + R2). With a
*relativistic* loss, D compares a real pair with a fake one. A *skip* G starts from a draw of $x_0$ as if the data
were Gaussian, and both networks see sines and cosines of the points (Fourier features). *Plain* networks are the
paper's; they have neither.

## Keys

| key | does |
|---|---|
| ← → | one step, on the scrubber or the panels |
| space | play, pause |
| ↑ ↓ | hold another sample (on the panels); Esc lets go (of points) |
| arrows in *Where a Gaussian fails* | move $x_t$; with Shift faster |
| arrows in a landscape | turn it; with Shift faster; + and − zoom; Home begins again |
| arrows on a handle in *Why* | move it; with Shift in small steps |

## Links

The address holds the whole picture, the seed included. If you copy it, others see the same picture, point for point.
Add `&hide=head`, `&hide=controls`, `&hide=posterior` or several (`&hide=head,controls`) to leave parts out, for a
lecture or an embedded page.
"""
)


def head() -> None:
    """The title, one sentence, and the tour; it has no events of Gradio's."""
    gr.HTML(html_template=_HEAD, js_on_load=script("page"), apply_default_css=False)


def build() -> None:
    """The tab's one component."""
    delimiters = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
    gr.Markdown(_TEXT, latex_delimiters=delimiters, elem_classes="about")
