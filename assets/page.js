/* What concerns the whole page: parts that a link hides, what terms mean, and the guided tour, a card that moves the
   page's real controls, one sentence at a time.

Gradio runs it after common.js and tabs.js, for ddgan/ui/about.py.
The card is put on the body, so that it stays while tabs change. For tests: .tour has data-step, "" when closed, and
data-side, where it stands seen from what it speaks of. */

const HIDES = {
  head: '.hero, .tab-wrapper, [role=tablist]',
  controls: '.controls, #methods, #images-denoisers, .forks, .stage-forks, .exports, .exports-note, #range, #own, ' +
    '#paint',
  posterior: '#posterior, #explorer',
};
const hidden = (asked.get('hide') ?? '').split(',').map(name => HIDES[name]).filter(Boolean);
if (hidden.length)
  document.head.append(make('style', '', `${hidden.join(', ')} { display: none !important; }`));

/* Gradio's dropdowns take every key for a search, after a while: whoever moves on by Tab would leave an open list
   behind. What an arrow or Escape does to a list that is open it does to nothing else. */
listen(document, 'keydown', e => {
  if (['ArrowUp', 'ArrowDown', 'Escape'].includes(e.key) && e.target.getAttribute?.('aria-expanded') === 'true')
    e.preventDefault();
  if (['Tab', 'Shift', 'Control', 'Alt', 'Meta'].includes(e.key) && e.target.getAttribute?.('role') === 'combobox')
    e.stopImmediatePropagation();
}, { capture: true });

// ---------------------------------------------------------------- what a term means

/* A .gloss (ddgan/ui/words.py) is described by a text out of sight: here it is seen while the pointer or the focus is
   on the term, and after a tap. Escape closes it. */
const tip = make('div', 'gloss-tip');
tip.hidden = true;
tip.setAttribute('aria-hidden', 'true');        // who cannot see it hears the description of the button
document.querySelector('.gloss-tip')?.remove();
document.body.append(tip);
let term = null;
const placeTip = () => {
  if (!term) return;
  const at = term.getBoundingClientRect(), { width, height } = tip.getBoundingClientRect();
  if (!at.width) return explain(null);          // another tab was opened
  tip.style.left = `${clamp(at.left, 8, Math.max(8, document.documentElement.clientWidth - width - 8))}px`;
  tip.style.top = `${at.bottom + height > innerHeight && at.top > height ? at.top - height : at.bottom}px`;
};
const explain = of => {
  term = of;
  tip.hidden = !of;
  if (!of) return;
  tip.innerHTML = `<p>${document.getElementById(of.getAttribute('aria-describedby')).innerHTML}</p>`;
  placeTip();
};
const glossAt = e => e.target.closest?.('.gloss');
listen(document, 'pointerover', e => {
  if (glossAt(e)) explain(glossAt(e));
  else if (term && document.activeElement !== term && !tip.contains(e.target)) explain(null);
});
listen(document, 'focusin', e => explain(glossAt(e)));
listen(document, 'click', e => { if (!tip.contains(e.target)) explain(glossAt(e)); });
listen(document, 'keydown', e => { if (e.key === 'Escape') explain(null); });
listen(document, 'scroll', placeTip, { capture: true, passive: true });

// ---------------------------------------------------------------- paper

/* It is white: what is dark on the screen is printed light. The class tells those who draw (`inFrame` of common.js). */
const shades = document.body.classList;
let dark = false;
listen(window, 'beforeprint', () => {
  dark ||= shades.contains('dark');
  shades.remove('dark');
  shades.add('printed');
});
listen(window, 'afterprint', () => {
  shades.toggle('dark', dark);
  shades.remove('printed');
  dark = false;
});

// ---------------------------------------------------------------- the tour

const card = make('section', 'tour');
card.hidden = true;
card.setAttribute('role', 'dialog');
card.setAttribute('aria-label', 'Guided tour');
card.innerHTML = `<p class="tour-text" aria-live="polite"></p><div class="tour-buttons"><span class="tour-count"></span>
  <button type="button" data-go="close">Close</button><button type="button" data-go="back">Back</button>
  <button type="button" data-go="next" class="primary">Next</button></div>`;
document.querySelector('.tour')?.remove();
document.body.append(card);

const find = selector => document.querySelector(selector), stage = () => find('#stage .stage');
const wait = ms => new Promise(done => setTimeout(done, ms));
const until = async (ready, seconds = 5) => { for (let i = 0; i < 20 * seconds && !ready(); i++) await wait(50); };
const layer = (name, on) => { const box = find(`[data-layer="${name}"]`); if (box.checked !== on) box.click(); };
const look = (selector, block) => bring(find(selector), block);
const lookAtStage = () => look('#stage');               // the panels above the card, not the controls

/* Choose an option of one of Gradio's dropdowns as a pointer would. */
async function choose(id, text) {
  const input = find(`#${id} input`);
  if (input.value === text) return;
  const before = stage().dataset.id;
  input.focus();
  input.dispatchEvent(new MouseEvent('mousedown', { bubbles: true }));
  input.click();
  const option = () =>
    [...document.querySelectorAll(`#${id} [role=option], ul.options [role=option]`)].find(
      o => o.textContent.replace('✓', '').trim() === text,
    );
  await until(option);
  option()?.dispatchEvent(new MouseEvent('mousedown', { bubbles: true }));
  option()?.click();
  input.blur();
  await until(() => stage().dataset.id !== before);
}

async function denoise() {
  tab('Denoise');
  find('.posterior-close')?.click();
  await until(() => stage()?.clientWidth && stage().dataset.id && stage().dataset.opened);
}

/* Check or uncheck a denoiser, and wait for its panel. */
async function panel(label, on) {
  const box = [...document.querySelectorAll('#denoisers label')]
    .find(l => l.textContent.trim() === label)
    ?.querySelector('input');
  if (!box || box.checked === on) return;
  const before = stage().dataset.id;
  box.click();
  await until(() => stage().dataset.id !== before);
}

const shown = () => new URLSearchParams(stage().dataset.id);

const press = key => find('#stage .stage-panels').dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));

/* The paper's schedule: a range that is not its own is put back where another schedule is chosen. */
async function paper() {
  if (shown().has('span')) await choose('schedule', 'linear σ²');
  await choose('schedule', 'vp (paper)');
}

/* The scene that most steps share; each says itself whether it needs the predicted x_0. */
async function scene() {
  await denoise();
  for (const name of ['samples', 'density', 'paths']) layer(name, true);
  layer('field', false);
  await choose('data', '25 Gaussians');
  await choose('T', '4');
  await paper();
  for (const label of ['Exact law', 'DDGAN', 'Best Gaussian']) await panel(label, true);
  const order = shown().get('denoisers').split(','),
    [exact, ddgan, gaussian] = ['exact', 'ddgan', 'gaussian'].map(name => order.indexOf(name));
  if (exact > ddgan || ddgan > gaussian)
    for (const label of ['DDGAN', 'Best Gaussian']) for (const on of [false, true]) await panel(label, on);
}

const all = selector => [...document.querySelectorAll(selector)];
const panels = () => all('#stage .stage-plot');
const truth = () =>
  all('#posterior .posterior-cell').filter(cell => cell.textContent.startsWith('Truth')).map(cell => cell.children[1]);

/* [what the card says, what it does to the page, what it speaks of and must not cover, what is brought to the top] */
const STEPS = [
  [
    'This is pure noise, x₄: the same points in every panel. In four steps it is to become 25 small spots.',
    async () => {
      await scene();
      layer('x0', false);
      stage().stage.hold(null);
      stage().stage.pause();
      stage().stage.goto(0);
      lookAtStage();
    },
    panels,
  ],
  [
    'Four steps of vp, the paper\'s schedule: the exact law and the DDGAN end on the spots. The best Gaussian, ' +
      'on the same noise, ends between them.',
    async () => {
      await scene();
      stage().stage.goto(0);
      stage().stage.play();
      lookAtStage();
    },
    panels,
  ],
  [
    'A step first guesses clean data, x₀ (orange), then goes part of the way. At x₁ the guess is all that is ' +
      'left to do, and a Gaussian cannot choose between spots.',
    async () => {
      await scene();
      layer('x0', true);
      stage().stage.hold(null);
      stage().stage.goto(3);
      lookAtStage();
    },
    panels,
  ],
  [
    'Hold one sample: its way so far is a line, its fate a dotted one. Same start, same noise, three endings.',
    async () => {
      await scene();
      stage().stage.goto(2);
      press('ArrowDown');
      lookAtStage();
    },
    panels,
  ],
  [
    'What could one x₁ have been? The truth has more than twenty modes. The circle is the best Gaussian: it has ' +
      'to cover them all, and nearly all of it falls between them.',
    async () => {
      await scene();
      stage().stage.hold(null);
      stage().stage.goto(3);
      find('[name=posterior-of][value=x_0]').click();
      document.dispatchEvent(new CustomEvent('ddgan:pick', { detail: { t: 1, x: [0.3, 0.2] } }));
      look('#posterior', innerHeight < 1000 ? 'start' : 'center');
    },
    truth,
    '#posterior',
  ],
  [
    'Give the Gaussian 64 steps instead of 4 and it succeeds: each step is then so small that its law is nearly ' +
      'Gaussian. That is how DDPM works, and why it is slow. (The DDGAN rests here: it was made for few steps.)',
    async () => {
      await denoise();
      await panel('DDGAN', false);
      await paper();
      await choose('T', '64');
      stage().stage.goto(stage().stage.run().T);
      lookAtStage();
    },
    panels,
  ],
  [
    'Or choose the steps well. In four steps of the schedule optimal a Gaussian is surely within half a nat of the ' +
      'truth, and in fact about a tenth away. What fails is few steps of a schedule that spends them on noise.',
    async () => {
      await scene();
      await choose('schedule', 'optimal');
      stage().stage.goto(0);
      stage().stage.play();
      lookAtStage();
    },
    panels,
  ],
  [
    'The same argument on a line: choose a noisy point, make the step larger, and watch one hump turn into many.',
    async () => {
      await scene();
      tab('Why');
      await until(() => find('#why .why')?.dataset.ready);
      look('#why .why-grid');
    },
    () => all('#why .flow .why-plot, #why .chosen .why-plot, #why .why-ladder'),
    '#why',
  ],
  [
    'On images no formula knows the truth, but the argument is the same: one noisy image can become many pictures, ' +
      'and another z makes another one.',
    async () => {
      tab('Images');
      await until(() => find('#gallery .gallery')?.dataset.ready, 15);
      look('#gallery');
    },
    () => all('#gallery .gallery-grids'),
    '#gallery',
  ],
  [
    'Train shows how it is learned: D tells real steps from made ones, and G learns to make steps that D takes for ' +
      'real. Press Start: in about ten seconds a DDGAN of your own is there.',
    async () => {
      tab('Train');
      await until(() => find('#live .live')?.dataset.ready);
      look('.train');
    },
    () => all('#train-buttons, #live .stage-plot'),
    '.train',
  ],
];

/* The card is below, above or beside what its step speaks of, or in a corner: the first place of those where it covers
   the least share of that. */
const GAP = 12;
function place() {
  if (card.hidden) return;
  const { width, height } = card.getBoundingClientRect(), wide = document.documentElement.clientWidth;
  const [, , spokenOf, frame = '#stage'] = STEPS[step], plot = spokenOf().at(-1), start = find(frame);
  if (plot && start) {
    const above = plot.getBoundingClientRect().top - start.getBoundingClientRect().top;
    document.body.style.setProperty('--tour-room', `${innerHeight - above - height - 3 * GAP}px`);
  }
  const boxes = spokenOf()
    .map(node => node.getBoundingClientRect())
    .filter(box => box.width && box.bottom > 0 && box.top < innerHeight);
  const [left, top] = ['left', 'top'].map(side => Math.min(...boxes.map(box => box[side]))),
    [right, bottom] = ['right', 'bottom'].map(side => Math.max(...boxes.map(box => box[side])));
  const middle = (left + right - width) / 2;
  const places = boxes.length
    ? { below: [middle, bottom + GAP], above: [middle, top - height - GAP], right: [right + GAP, top],
        left: [left - width - GAP, top], 'foot, left': [0, innerHeight], 'foot, right': [wide, innerHeight] }
    : { foot: [(wide - width) / 2, innerHeight] };
  const covered = ([x, y]) => sum(boxes.map(box =>
    Math.max(0, Math.min(box.right, x + width) - Math.max(box.left, x)) *
    Math.max(0, Math.min(box.bottom, y + height) - Math.max(box.top, y)) / (box.width * box.height)));
  const inside = Object.entries(places).map(([side, [x, y]]) => {
    const at = [
      clamp(x, GAP, Math.max(GAP, wide - width - GAP)),
      clamp(y, GAP, Math.max(GAP, innerHeight - height - GAP)),
    ];
    return { side, at, covered: covered(at) };
  });
  const best = inside.reduce((a, b) => (b.covered < a.covered ? b : a));
  card.style.left = `${best.at[0]}px`;
  card.style.top = `${best.at[1]}px`;
  card.dataset.side = best.side;
}
listen(document, 'scroll', place, { capture: true, passive: true });
listen(window, 'resize', place);
const sizes = observing(new ResizeObserver(place));     // a picture that comes late moves what is below it
sizes.observe(card);
sizes.observe(document.body);

let step = null, turn = 0;
async function go(to) {
  const mine = ++turn, moves = card.querySelectorAll('[data-go=back], [data-go=next]');
  step = to === null || to < 0 || to >= STEPS.length ? null : to;
  card.hidden = step === null;
  document.documentElement.toggleAttribute('data-touring', !card.hidden);
  if (step === null) { card.dataset.step = ''; find('[data-tour]')?.focus(); return; }
  card.querySelector('.tour-text').textContent = STEPS[step][0];
  card.querySelector('.tour-count').textContent = `${step + 1} of ${STEPS.length}`;
  for (const button of moves) button.disabled = true;       // one step moves the page at a time
  card.querySelector('[data-go=next]').textContent = step === STEPS.length - 1 ? 'Done' : 'Next';
  place();
  await STEPS[step][1]();
  place();
  for (const button of moves) button.disabled = step === 0 && button.dataset.go === 'back';
  if (mine !== turn) return;
  card.dataset.step = step;
  card.querySelector('[data-go=next]').focus({ preventScroll: true });
}

card.addEventListener('click', e => {
  const to = e.target.dataset.go;
  if (to) go(to === 'close' ? null : step + (to === 'next' ? 1 : -1));
});
onEscape(() => step !== null, () => go(null));
element.addEventListener('click', e => { if (e.target.closest('[data-tour]')) go(0); });
