"""The head of the page with its guided tour (assets/page.js drives the real controls), and the tab *About*."""

from __future__ import annotations

import gradio as gr

from .drawn import script

__all__ = ["build", "head"]

_HEAD = """<div class="hero"><h1>DDGAN Explorer</h1>
<p>Each step draws x<sub>s</sub> from a noisier x<sub>t</sub>. When steps are few, x<sub>s</sub> can have <b>many modes</b>:
a GAN learns them, a Gaussian cannot. Same noise, side by side. <button type="button" data-tour>Take the tour</button></p></div>"""
_TEXT = r"""
## What you are looking at

A diffusion process turns data $x_0$ into noise $x_T$. A generative model walks back, from $x_t$ to a cleaner $x_s$, and
each step has to draw from

$$q(x_s \mid x_t) = \int q(x_s \mid x_t, x_0)\, q(x_0 \mid x_t)\, dx_0 .$$

The first factor is a Gaussian in closed form. The second says which clean data this $x_t$ could have come from: often
many. A short step hardly depends on which, so a Gaussian is enough: that is DDPM, with a thousand steps. A long step, one of
four, depends on it, and $q(x_s \mid x_t)$ can have **many modes**, on these toys above all in the last one. (Data so simple a GAN draws in one step
too. On images it does not: in the paper's CIFAR-10 FID is 14.6 in one step and 3.75 in four.) A [Denoising Diffusion
GAN](https://arxiv.org/abs/2112.07804) draws $x_0 = G(x_t, z)$, with fresh standard normal $z$ at every step and knowing the noise
level. Its generator $G$ was trained against a discriminator $D$ of pairs $(x_s, x_t)$, so it can have as many modes as it
needs. Then $x_s$ is drawn from $q(x_s \mid x_t, x_0)$, with the *posterior noise*. (A *law* is a probability distribution.)

In *Denoise* every data set is a mixture of Gaussians. So the truth at every step is a formula, and nothing has to be taken on
trust: each panel uses the **same noise**, and differs only in how $x_0$ is drawn given $x_t$.

| panel | draws $x_0$ from |
|---|---|
| Exact law | the true $q(x_0 \mid x_t)$ |
| DDGAN | a network, trained adversarially |
| Best Gaussian | the Gaussian with the true mean and covariance; none has a smaller KL(q ‖ p) in any step |
| Learned Gaussian (DDPM) | a network of the same kind, trained by least squares: no draw, only a mean |
| Exact mean (DDPM) | the true mean: what that network would be if it were perfect |

## The numbers

A mode is what the eye counts: a spot, a square, a moon, a ring, an arm, a tenth of the spiral. A spot is one Gaussian, the others
are many small ones. **Modes**: how many get at least a tenth of their share. **On a mode**: samples within four standard
deviations of the nearest of these Gaussians.
**KL**: Kullback-Leibler divergence, in nats (natural logarithms), of the histogram over the modes of the samples on
one; of exact samples about (modes − 1) / (2 × samples). **Width**: how far those samples lie from the centre of that
Gaussian, 1 as far as the law's: GANs make modes too narrow, which hardly shows in the other numbers. **SW₂**: sliced
Wasserstein distance to as many exact samples, so that even the exact law does not score 0. A star marks the best panel, an arrow says which
direction is good. A lead over the exact law is chance or, in *On a mode*, modes that are too narrow. The numbers judge the
$x_0$ that a denoiser predicts from the state shown.

**Behind the scrubber** a bar stands for every step (of more than 16, for 16 of them, evenly spread): the KL from the true
law of $x_s$ to its best Gaussian, on average over $x_t$, full at 5 nats. It is what a Gaussian loses there: with few steps much, in the last one; with many, hardly anything.

**Below the panels**, for one $x_t$ and 800 draws of each denoiser: the share **on a mode** of the true law; by how much
the **weights** of its modes are **off** (half the sum of the absolute differences); the **energy distance** to the
truth, which is zero for equal laws and, being estimated without bias, may come out negative. In brackets stands what
exact draws score: the noise floor. The draws are shown as points or as a kernel density estimate, and a Gaussian as its
ellipse of two standard deviations. The **data modes** are those that this $x_t$ may come from: where the noise of a
step covers the gaps between them, the law of $x_s$ still has one hump. The **entropy** is that of their weights, and
**KL to best Gaussian** is what no Gaussian denoiser can learn; the map shows it for every $x_t$, to about a tenth of a
nat. The **best discriminator** is the log of the true density over that of 8,000 draws of the DDGAN, zero where it is right.
Both are blurred by half a pixel of it, so in the last step it tells whether modes have their weights, not whether they are as
wide as they should be. Beside it stands what the DDGAN's own discriminator learned.

## Images

In *Images* the law is not known, but a training set is: if $q(x_0)$ is uniform over its $N$ images, the exact posterior of
an $x_t$ is a list of $N$ weights. The exponential of its entropy is the **effective number of candidates**: all $N$ for pure
noise, one at the end. While it is large, what a denoiser draws for one $x_t$ has to differ from $z$ to $z$; the mean of all
answers, which least squares learns, is a blur. Pixels are drawn exactly; those of noise beyond ±1 are clipped.
*Begin with an image* noises a picture to $x_t$ and takes the remaining steps: strokes become images, images variants.

## Your own data, and training

*Your own data* takes drawn points or a CSV of two columns: their exact law is known at once, since
each point is a small Gaussian, and points close to each other are one mode. *Train* learns a DDGAN for them, or for any
other data, while you watch; the model then stands among the denoisers, for you and whoever has the link, and can be
downloaded as one file. *Penalty γ*, halved, weighs the square of D's slope: at the data (R1), or at data and fakes (R1 + R2);
with a *relativistic* loss D judges a real one against a fake. A *skip* G begins at a draw of $x_0$ as if the data were
Gaussian, and both networks see sines and cosines of the points (Fourier features); *plain* ones are the paper's,
without either.

## Keys

| key | does |
|---|---|
| ← → | one step, on the scrubber or the panels |
| space | play, pause |
| ↑ ↓ | hold another sample (on the panels); Esc lets go (of points) |
| arrows in *Where a Gaussian fails* | move $x_t$; with Shift faster |
| arrows on a handle in *Why* | move it; with Shift in small steps |

## Links

The address holds all of it, the seed included: copy it, and whoever opens it sees the same picture, point for point.
Add `&hide=head`, `&hide=controls`, `&hide=posterior` or several (`&hide=head,controls`) to leave parts out, for a
lecture or an embedded page.
"""


def head() -> None:
    """The title, one sentence, and the tour; it has no events of Gradio's."""
    gr.HTML(html_template=_HEAD, js_on_load=script("page"), apply_default_css=False)


def build() -> None:
    """The tab's one component."""
    delimiters = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
    gr.Markdown(_TEXT, latex_delimiters=delimiters, elem_classes="about")
