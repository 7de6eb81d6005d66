/* The stage: the same noise, denoised by several denoisers, on one scrubber. Plain canvas, no library.

Gradio runs it after common.js and its own parts (ddgan/ui/canvas.py), for ddgan/ui/denoise.py.
props.controls, a JSON string: {names: of the controls, spans: the default range of each schedule, bent: those whose
curve can be bent at x_1 too, T: the steps to choose}.
The picture `points` of a query (ddgan/views/stage.py) has
  id, T, n, dim (1 | 2)             id: the URL query string of this run
  t, a, sigma                       F labels, sqrt(alpha_bar) and noise std, from x_T down to x_0 (thinned for large T)
  limit, scale                      half width of the view in data units; int16 * scale = data units
  axes                              of a table's points, else []: {name, centre, unit, digits, ticks: [place, text]},
                                    centre + unit x being a value
  density                           {size: G, data: uint8 (F, G, G), row 0 on top; dim 1: (F, G), linear}
  panels                            [{key, label, note, error, x, x0: int16 (F, n, dim)}]
  message                           a quiet sentence
and `scores`, which comes after it, the metrics of its panels, F objects | null each; star says that no other panel is
nearer to the law. `bars` are [t, nats] of its steps: what a Gaussian loses there.
The newest request aborts the one before. Another picture redraws the canvases and keeps the scrubber, the layers and
the followed sample where they are. One that failed leaves the last, faded, since it is not what the controls say.
"State" is an index 0..F-1 (0 = x_T); state.at is real-valued because points glide from one state to the next.

For tests: .stage has data-ready, data-opened (the controls hold what the address says), data-id, data-scored (the id
whose numbers are there), data-state, data-t, data-playing and .stage = {state, points, goto, ...}. */

const FOLLOWED = LOOKS.followed;   // samples whose whole path is drawn
const PICK_RADIUS = 28;       // px: how near the pointer must come to a sample
const GAP = 'KL from the true law of the step to its best Gaussian, mean over x_t, in nats: what no Gaussian can learn';
const FLOOR = 'Energy distance to the law; in brackets its noise floor: 95 % of exact samplings score less';
const STAR = 'The least energy distance of the panels, as far as chance lets that be told: ' +
  'in up to one seed of 20 it takes the star even from the exact law';
const MAIN = 'modes that get at least a tenth of their share, and the share of the points on a mode';
const MOST_LIKELY = 16;       // steps of a picture that is fetched before it is asked for: of more, it is large
const IN_DIAGRAM = 120;       // samples of the diagram of a step
const PACES = [0.5, 1, 2, 4]; // speeds of the film
const A_FRAME = 17;           // ms
const STALL_MS = 1000;        // the most that one frame moves the film on: after a longer gap the machine was asleep

const LAYERS = [
  ['samples', 'Samples', true, 'The states x_t that the denoiser has reached'],
  ['density', 'Density', true, 'Where the exact law q(x_t) of this level puts its mass'],
  ['x0', '<em>Predicted</em> x₀', true, 'What the denoiser answers for the step that leaves this state'],
  ['paths', 'Paths', true, `The way of ${FOLLOWED} samples so far; the same noise in every panel`],
  ['field', 'Mean step', false, 'Where a point at each place goes in this step on average, E[xₛ | xₜ] − xₜ: ' +
    'the arrows of all panels are shortened alike'],
];
const LOWER = ['↓', 'lower is better'], HIGHER = ['↑', 'higher is better'];
const METRICS = [             // key, label, what is better, text
  ['energy', 'Energy', LOWER, m => signed(m.energy, 4)],
  ['modes', 'Modes', HIGHER, m => `${m.modes} / ${m.of}`],
  ['on_mode', 'On a mode', HIGHER, m => (100 * m.on_mode).toFixed(1) + ' %'],
  ['kl', 'KL', LOWER, m => signed(m.kl, 3)],
  ['width', 'Width', ['best: 1', '1 is as wide as the law, less is too narrow'], m => m.width.toFixed(2)],
  ['sw2', 'SW₂', LOWER, m => signed(m.sw2, 3)],
];

const state = {
  data: null, // the decoded payload
  views: [], // one a panel: {panel, plot, canvas, ctx, main, numbers, cells, w, h, dpr}
  shape: null, // what they were built for
  at: 0, // position on the scrubber, 0 .. F-1
  motion: null, // null | {play: elapsed ms} | {from, to, elapsed}
  pace: 1, // how fast the film plays
  forward: null, // while noise is added: int16 (F, n, dim), the data at every level, with one noise
  dragging: false,
  hover: null, pinned: null,  // index of the sample that all panels emphasise
  layers: Object.fromEntries(LAYERS.map(([name, , on]) => [name, on])),
  theme: null,                // colours and point shapes, read from CSS
  gaps: { of: '', steps: [] },  // what a Gaussian loses: [t, nats] of the steps of which data, T and schedule
  field: { key: null },       // the density at `at`, as large as a panel, shared by all
  layer: {},                  // the pixels of a panel that drawPoints writes
  last: 0,                    // when a frame was drawn
  anew: null,                 // the t of the step drawn anew, while the state is shown that it led to
  greeted: false,             // the first run plays by itself, once
  query: '',                  // what the address is to hold
  asked: null,                // what the controls held when they last asked
  forks: '',                  // of the picture that was asked for last
  presses: 0,                 // of keys and pointers so far
  wanted: null,               // its query, null where it failed
  coming: null,               // the AbortController of what is being fetched
};

// ---------------------------------------------------------------- markup

root.innerHTML = `
  <p class="stage-notice" role="status" aria-live="polite"></p>
${deckMarkup(
  `<div class="stage-layers" role="group" aria-label="Layers">${LAYERS.map(
    ([name, text, , title]) =>
      `<label class="stage-chip" title="${title}"><input type="checkbox" data-layer="${name}"
      ${state.layers[name] ? 'checked' : ''}><i class="stage-key ${name}"></i>${text}</label>`,
  ).join('')}<label class="stage-chip" title="Every measure, of the predicted x₀ or the samples, under its panel"><input
    type="checkbox" data-all>Numbers</label><button type="button" class="stage-chip" data-act="present"
    aria-pressed="false" title="Large, without the rest of the page (key p; back: Escape)">Present</button></div>`,
  0.001,
  {
    beside: `
      <button type="button" class="stage-chip" data-act="pace"
        title="Speed of the film (keys &lt; and &gt;)">1×</button>
      <div class="stage-forks" role="group" aria-label="Noise">
        <button type="button" data-act="noise" aria-pressed="false"
          title="Play data to noise, with one noise for all levels, and back (key n)">Add noise</button>
        <button type="button" data-fork="z"
          title="Draw z again at this step: for the sample that you hold, else for all">New z</button>
        <button type="button" data-fork="eps"
          title="Draw the posterior noise again at this step: for the held sample, else for all">New ε</button>
        <button type="button" data-act="undo" title="Back to the picture before (Ctrl Z, or the browser's Back)"
          disabled>Undo</button>
      </div>`,
  },
)}
  <div class="stage-panels" role="group" tabindex="0"
    aria-label="Panels. Up and down arrows follow another sample; escape lets go."></div>
  <figure class="step-machine"></figure>
  <p class="stage-sr" aria-live="polite"></p>`;

const range = $('input[type=range]'), panels = $('.stage-panels'), live = $('.stage-sr');
const ends = curveEnds($('.stage-strip'), {
  bend,
  rest: () => trigger('undo'),                       // the controls follow
  pick: i => glide(i),
  calm: on => Object.assign($('.stage-notice').style, on ? { height: `${$('.stage-notice').offsetHeight}px`,
    overflow: 'hidden', margin: 0, padding: 0 } : { height: '', overflow: '', margin: '', padding: '' }),
});
const diagram = machine($('.step-machine'));
const lastState = () => state.data.F - 1;
const current = () => state.motion?.to ?? Math.round(state.at);     // the state that labels and numbers speak of
const focused = () => state.hover ?? state.pinned;
const playing = () => state.motion?.play !== undefined;

// ---------------------------------------------------------------- payload

function decode(p) {
  const F = p.t?.length, size = F * p.n * p.dim;
  if (!(F >= 2 && p.a?.length === F && p.sigma?.length === F))
    throw new Error('t, a and sigma must have one entry per state');
  if (!(p.n >= 1 && (p.dim === 1 || p.dim === 2) && p.limit > 0 && p.scale > 0))
    throw new Error('n, dim, limit or scale is missing');
  if (!p.panels?.length) throw new Error('there is no panel');
  const right = (found, length) => { if (found.length !== length) throw new Error('an array has the wrong length'); };
  right(p.density.data, F * p.density.size ** p.dim);
  for (const { error, x, x0 } of p.panels) if (!error) for (const found of [x, x0]) right(found, size);
  // Evenly spread indices: the draws are independent, so any fixed choice is a fair one.
  const followed = Array.from({ length: Math.min(FOLLOWED, p.n) }, (_, i) =>
    Math.floor(((i + 0.5) * p.n) / Math.min(FOLLOWED, p.n)),
  );
  return { ...p, F, followed };
}

// ---------------------------------------------------------------- asking

const CONTROLS = JSON.parse(props.controls);
const INSTEAD = 'This is the first view instead.';

/* What the controls hold, as the query of a picture; a range only where it is one of this schedule, and not its own. */
function queryOf(values, forks = '') {
  const { lo, hi, of, ...rest } = Object.fromEntries(CONTROLS.names.map((name, i) => [name, values[i]]));
  const { schedule, denoisers, seed, budget, eta } = rest, span = [lo, hi].join(),
    ranged = of === schedule && span !== CONTROLS.spans[schedule]?.join();
  const asked = {
    ...rest,
    denoisers: denoisers.join() || ',',              // none: the server says that one is needed
    seed: seed ?? 'nothing',
    budget: budget === 'T' ? '' : budget,
    eta: eta || '',
    span: ranged ? span : '',
    forks,
  };
  const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => value !== ''));
  return query.toString().replaceAll('%2C', ',');
}

const forksOf = query => new URLSearchParams(query).get('forks') ?? '';

/* The picture of what the controls hold, unless it is here or on its way: Gradio says `input` twice when something is
   chosen from a list, and once when a list is only left. Other denoisers keep the forks. A problem is what is said of a
   picture that stands for another. */
function want(values, problem = '') {
  if (!problem && state.wanted !== null && JSON.stringify(values) === JSON.stringify(state.asked)) return;
  const same = state.asked !== null && but(queryOf(values), 'denoisers') === but(queryOf(state.asked), 'denoisers'),
    query = queryOf(values, same ? state.forks : '');
  state.asked = values;
  state.forks = forksOf(query);
  if (query === state.wanted && !problem) return;
  load(query, problem);
}

/* New noise of one kind at the step that the stage stands at, for the held sample or else for all. */
function fork(what) {
  const shown = state.data && anew();
  if (!shown) return say('There is no picture yet to change.', true);
  const before = state.forks ? state.forks.split(',') : [], item = shown.item === null ? '' : `.${shown.item}`;
  reforked([...before, `${what}.${shown.t}.${before.length + 1}${item}`]);
}

function reforked(forks) {
  state.forks = forks.join();
  const query = state.asked ? queryOf(state.asked) : but(state.data.id, 'forks');
  load(query + (state.forks && `&forks=${state.forks}`));
}

/* The schedule of the same kind whose curve goes through a_t = a. */
async function bend(t, a) {
  const { wanted, data: { id } } = state;
  try {
    const { span } = await picture('bent', `${id}&at=${t},${a.toFixed(4)}`);
    if (state.wanted !== wanted) return false;
    const bent = `${but(id, 'forks', 'span')}&span=${span.join()}`;
    await load(bent);
    return state.wanted === bent;
  } catch (error) { say(error.message, true); return false; }
}

/* The pictures before and after, whatever changed them: Undo and the browser's Back and Forward walk along them. */
const past = trail(history, (query, place) => load(query, '', null, place));

/* Fetch and draw the picture of a query; where it is refused, that of `otherwise`. `place` is that of one that was
   there before: its controls follow. */
async function load(query, problem = '', otherwise = null, place = null) {
  const press = state.presses;
  state.coming?.abort();
  state.wanted = query;
  const { signal } = state.coming = new AbortController(), busy = words => { say(words, true); fade(true); };
  try {
    const found = await picture('points', query, { signal, waiting: busy });
    if (signal.aborted) return;
    const before = state.data?.id;
    show(decode(found));
    if (place !== null) past.moved(place, found.id);
    else if (!before) past.first(found.id);
    else if (before === found.id) past.stay();
    else past.add(found.id, press);
    $('[data-act=undo]').disabled = !past.can();
    fade(false);
    say(problem || found.message, Boolean(problem));
    state.query = problem ? '' : found.id;
    state.forks = forksOf(found.id);
    keepRun();
    setTimeout(() => state.data.id === found.id && tell('run', run()), A_FRAME);     // it is seen before others draw
    if (place !== null) trigger('undo');
    await judge(signal);
    await weigh(signal);
    neighbours(signal);
  } catch (error) {
    if (signal.aborted) return;
    const words = error.words ? `${error.words}.` : error.message;
    if (otherwise !== null) return load(otherwise, `The link was not understood: ${words} ${INSTEAD}`);
    state.wanted = null;                             // it may be asked for again
    past.stay();
    fade(true);
    say(error.message, true);
  }
}

const fade = on => root.classList.toggle('stale', on);

/* The numbers under the picture. */
async function judge(signal) {
  const { data } = state, { panels } = await picture('scores', data.id, { signal });
  data.panels.forEach((panel, i) => { panel.metrics = panels[i]; });
  fillMetrics(current());
  root.dataset.scored = data.id;
}

/* What is likely to be asked for next, for the browser to keep: T one up and down, the next seed. */
function neighbours(signal) {
  if (!state.asked || navigator.connection?.saveData) return;
  const [T, seed] = ['T', 'seed'].map(name => CONTROLS.names.indexOf(name)), k = CONTROLS.T.indexOf(state.asked[T]);
  const other = (i, value) => queryOf(state.asked.map((old, j) => j === i ? value : old));
  const likely = [[T, CONTROLS.T[k + 1]], [T, CONTROLS.T[k - 1]], [seed, state.asked[seed] + 1]];
  const fetchAll = async () => {
    for (const [i, value] of likely)
      if (value !== undefined && !(i === T && value > MOST_LIKELY))
        await picture('points', other(i, value), { signal, idle: true });
  };
  (window.requestIdleCallback ?? setTimeout)(() => fetchAll().catch(() => {}));
}

/* What is shown, whether the address may name it, the step that leaves it and the sample that is held, for whoever asks
   or listens. */
const run = () =>
  state.data && {
    query: state.data.id,
    linked: !!state.query,
    T: state.data.T,
    dim: state.data.dim,
    limit: state.data.limit,
    axes: state.data.axes,
    t: state.data.t[Math.min(current(), lastState() - 1)],
    item: state.pinned,
    layers: shownLayers(),
  };

/* What is shown, for new noise at the step that leaves it, whose other end is then shown; again the same step until the
   reader moves. */
function anew() {
  const shown = { ...run(), t: state.anew ?? run()?.t };
  if (state.anew === null) goto(current() + 1);
  state.anew = shown.t ?? null;
  return shown.query ? shown : null;
}

/* A question about x_t: the sample that was hit, else the point itself. Clean data asks about the step that made it. */
function pick(view, event, j) {
  const { t, F, dim, limit } = state.data, i = Math.min(current(), F - 2);
  if (j === null && current() > F - 2) return;
  const x = j === null ? inPlane(view.canvas, event, limit) : pointOf(xOf(view), i, j);
  tell('pick', { t: t[i], x: x.slice(0, dim) });
}

function show(data) {
  const before = state.data;
  const fraction = before ? state.at / lastState() : reducedMotion.matches ? 1 : 0;
  state.data = data;
  // A changed control must not move the reader: the same place on the scrubber, at a true state unless playing.
  state.at = fraction * lastState();
  if (playing()) { if (before.F !== data.F) goOn(); }
  else if (!state.dragging) { state.motion = null; state.at = Math.round(state.at); }
  if (!before || before.n !== data.n) state.hover = state.pinned = null;
  if (!before) recall();
  state.field.key = null;
  if (data.n !== before?.n) state.theme = null;
  if (kindOf(data) !== state.gaps.of) state.gaps = { of: '', steps: [] };
  range.max = lastState();
  range.disabled = false;
  buildPanels();
  if (before && kindOf(before) === kindOf(data)) ends.show(data, isBent(data)); else scale();
  onward(null);
  invalidate();
  if (before && dataOf(data).startsWith('points:') && dataOf(data) !== dataOf(before)) {   // a visitor's own points
    goto(reducedMotion.matches ? lastState() : 0);
    if (!reducedMotion.matches) play();
  }
}

const given = (data, name) => new URLSearchParams(data.id).get(name);
const dataOf = data => given(data, 'data');
const kindOf = data => ['data', 'T', 'schedule', 'span'].map(name => given(data, name)).join('&');

/* What a Gaussian loses in each step, which no noise changes; until that is known state.gaps has no steps. */
async function weigh(signal) {
  const { data } = state, of = kindOf(data);
  if (of === state.gaps.of) return;
  const { steps } = await picture('bars', data.id, { signal });
  state.gaps = { of, steps };
  scale();
  describe(true);
}

const isBent = data => CONTROLS.bent.includes(given(data, 'schedule'));

/* The scrubber's scale and, behind it, a bar a step: what a Gaussian loses there, on a scale that ends at MOST_NATS. */
function scale() {
  const { data, gaps } = state, last = lastState();
  buildScale(data);
  ends.show(data, isBent(data));
  const place = gaps.steps.map(([t]) => data.t.findIndex(v => v <= t)); // the state that the step leaves
  $('.stage-strip svg').insertAdjacentHTML(
    'afterbegin',
    bars(gaps.steps, place, last)
      .map(bar => `<rect class="gap" x="${bar.x}" y="${40 - bar.high}" width="${bar.wide}" height="${bar.high}"/>`)
      .join(''),
  );
  if (last > 8) return;
  $('.stage-ticks').append(...gaps.steps.map(([, nats], k) => {
    const number = Object.assign(make('span', 'named gap', nats.toFixed(2)), { title: GAP });
    number.style.left = 100 * (place[k] + 0.5) / last + '%';
    number.dataset.state = place[k];
    return number;
  }));
}

/* The view is in the address too: the state, the layers, the held sample; what is as at first is left out. */
const shownLayers = () => LAYERS.map(([name]) => name).filter(name => state.layers[name]).join(',');
const firstLayers = shownLayers();

const remember = calmly(() => {
  if (state.query && !state.motion && !state.dragging && root.clientWidth) keepInAddress(view());
}, 400);

function view() {
  const t = state.data.t[current()];
  return {
    t: t === 0 || state.motion ? null : t,
    layers: shownLayers() === firstLayers ? null : shownLayers() || 'none',
    hold: state.pinned,
  };
}

function recall() {
  const asked = new URLSearchParams(location.search),
    { t, n } = state.data,
    wanted = parseInt(asked.get('t')),
    hold = parseInt(asked.get('hold'));
  // another tab's
  if (asked.has('data') && asked.get('data') !== dataOf(state.data)) return;
  if (wanted >= 0) {
    state.at = t.reduce((best, v, i) => (Math.abs(v - wanted) < Math.abs(t[best] - wanted) ? i : best), 0);
    state.greeted = true;
  }
  if (hold >= 0 && hold < n) state.pinned = hold;
  if (asked.has('layers'))
    for (const box of root.querySelectorAll('[data-layer]'))
      box.checked = state.layers[box.dataset.layer] = asked.get('layers').split(',').includes(box.dataset.layer);
}

/* The address is that of the tab that is shown, whose view replaces another tab's. */
function keepRun() {
  if (state.query && root.clientWidth)
    keepInAddress({ ...NO_REQUEST, ...Object.fromEntries(new URLSearchParams(state.query)), ...view() });
}

// ---------------------------------------------------------------- panels and numbers (DOM)

function buildPanels() {
  const { data } = state;
  // The same panels keep their canvases, and with them the pointer's target and the focus.
  const shape = JSON.stringify([data.dim, data.panels.map(p => [p.key, p.label, p.note, p.error])]);
  if (shape === state.shape) return state.views.forEach((view, i) => { view.panel = data.panels[i]; });
  state.shape = shape;
  for (const view of state.views) sizes.unobserve(view.plot);
  panels.replaceChildren();
  panels.classList.toggle('line', data.dim === 1);
  state.views = data.panels.map(panel => {
    const figure = make('figure', 'stage-panel'), caption = make('figcaption'), plot = make('div', 'stage-plot'),
      main = make('b', 'stage-main');
    caption.append(make('strong', '', panel.label), main, make('span', '', panel.note ?? ''));
    const canvas = make('canvas');
    canvas.setAttribute('role', 'img');
    plot.append(canvas);
    if (panel.error) plot.append(refused(panel));
    const numbers = make('dl', 'stage-metrics');
    const cells = METRICS.map(([, text, [arrow, title]]) => {
      const row = make('div'), name = make('dt', '', text), value = make('dd', '', '–');
      value.append(make('small'));
      name.append(Object.assign(make('small', '', `\u00a0${arrow}`), { title }));
      row.append(name, value);
      numbers.append(row);
      return value;
    });
    figure.append(caption, plot, numbers);
    panels.append(figure);
    sizes.observe(plot);
    return { panel, plot, canvas, ctx: canvas.getContext('2d'), main, numbers, cells, w: 0, h: 0 };
  });
  measure();
}

/* Why a panel shows nothing; a DDGAN of a visitor's own points can be trained at once. */
function refused(panel) {
  const words = make('p', '', panel.error);
  if (panel.key !== 'ddgan' || !dataOf(state.data).startsWith('points:')) return words;
  const train = make('button', 'stage-chip', 'Train a DDGAN on these');
  train.type = 'button';
  train.addEventListener('click', () => tell('tab', 'Train'));
  words.append(train);
  return words;
}

/* The two main numbers of a panel after what they judge, as its title has them. */
const inTitle = (m, t) =>
  `${t ? 'x₀ predicted' : 'Samples'}: ` +
  [m.modes == null ? '' : `${m.modes}/${m.of} modes`, m.on_mode == null ? '' : `${(100 * m.on_mode).toFixed(0)} %`]
    .filter(Boolean)
    .join(', ') + (m.star ? ' ★' : '');

/* How a state is made of data and noise. */
const inFormula = ({ t, a, sigma }, i) =>
  t[i] ? `${subscript(t[i])} = ${a[i].toFixed(2)} x₀ + ${sigma[i].toFixed(2)} ε` : 'Data x₀';

function fillMetrics(i) {
  state.views.forEach(view => {
    const m = view.panel.error || state.forward ? null : view.panel.metrics?.[i];
    const texts = METRICS.map(([key, , , text]) => (m?.[key] == null ? null : text(m)));
    METRICS.forEach(([key], r) => {
      const cell = view.cells[r], energy = key === 'energy' && texts[r] !== null;
      retext(cell.firstChild, texts[r] ?? '–');
      retext(cell.lastChild, energy ? `\u00a0(${m.floor.toFixed(4)})` : '');
      cell.classList.toggle('best', energy && m.star);
      cell.title = !energy ? '' : m.star ? `${FLOOR}. ★ ${STAR}` : FLOOR;
    });
    const t = state.data.t[i];
    retext(view.main, m ? inTitle(m, t) : state.forward && !view.panel.error ? inFormula(state.data, i) : '');
    view.main.title = state.forward
      ? 'Noise is added to data, the same noise at every level'
      : `${t ? 'Of the predicted x₀, orange' : 'Of the samples, blue'}: ${MAIN}${m?.star ? `. ★ ${STAR}` : ''}`;
    view.main.classList.toggle('predicted', t > 0 && !state.forward);
    view.numbers.dataset.of = state.forward ? 'Noise is added to data'
      : t ? `x₀ predicted from ${subscript(t)}, against the law` : 'Samples against the law';
    view.numbers.classList.toggle('predicted', t > 0 && !state.forward);
    const numbers = METRICS.map(([, name], r) => texts[r] && `${name} ${texts[r]}`).filter(Boolean);
    view.canvas.setAttribute(
      'aria-label',
      `${view.panel.label} at ${subscript(state.data.t[i])}. ${view.panel.error ?? numbers.join(', ')}`,
    );
  });
}

function describe(force = false) {
  const { data } = state, i = current();
  if (range.valueAsNumber !== state.at) range.value = state.at;
  const turned = showPlaying(playing());
  if (!force && !turned && root.dataset.state === String(i)) return false;
  if (root.dataset.state !== String(i)) state.anew = null;
  root.dataset.state = i;
  ends.at(i);
  root.dataset.t = data.t[i];
  const words = showState(data, i), { steps } = state.gaps;
  // of very many steps not all were weighed: the nearest; none yet, but their words have their place
  const [near, nats] = steps.reduce((best, step) =>
    Math.abs(step[0] - data.t[i]) < Math.abs(best[0] - data.t[i]) ? step : best, steps[0] ?? []);
  const lost = data.t[i] && steps.length
    ? [`a Gaussian loses ${nats.toFixed(2)} nats`,
      near === data.t[i] ? ' in this step' : ` in the step from ${subscript(near)}`]
    : ['bars: what a Gaussian step loses', ', in nats'];
  if (!$('.stage-level .gap'))
    $('.stage-level').insertAdjacentHTML('beforeend', `<span class="gap" title="${GAP}"> <em></em></span>`);
  $('.stage-level .gap').childNodes.forEach((node, k) => retext(node, lost[k]));
  if (!playing()) {           // screen readers hear of states that stay, not of every one that passes
    range.setAttribute('aria-valuetext', words);
    if (!force) retext(live, document.activeElement === range ? '' : words);
  }
  fillMetrics(i);
  return true;
}

// ---------------------------------------------------------------- motion

function advance(dt) {
  const { motion, data } = state;
  if (playing()) {
    motion.play += dt * state.pace;
    const done = played(data.F, motion.play, reducedMotion.matches);
    state.at = state.forward ? lastState() - done : done;
    if (done >= lastState()) end();
  } else {
    motion.elapsed += dt;
    state.at = sought(motion);
    if (motion.elapsed >= SEEK_MS) state.motion = null;
  }
}

/* The end of a film: data at last, or noise, from where it goes back to data. */
function end() {
  state.motion = state.forward ? { play: 0 } : null;
  state.at = state.forward ? 0 : lastState();
  onward(null);
}

/* Whether noise is added, and to which states of the data. */
function onward(states) {
  const turns = Boolean(states) !== Boolean(state.forward);
  state.forward = states;
  if (turns) goOn();
  $('[data-act=noise]').setAttribute('aria-pressed', Boolean(states));
  $('.step-machine').style.visibility = states ? 'hidden' : '';     // its step is one back
  describe(true);
}

/* From data to noise and back; once more: leave it. The data are draws of the exact law from the same noise. */
async function addNoise() {
  const { data } = state;
  if (!data) return;
  if (state.forward) {
    onward(null);
  } else {
    const row = data.n * data.dim, exact = data.panels.find(({ key, error }) => key === 'exact' && !error) ??
      (await picture('points', `${but(data.id, 'denoisers', 'forks')}&denoisers=exact`)).panels[0];
    if (data !== state.data) return;
    onward(noised(data, exact.x.subarray(0, row), exact.x.subarray(-row)));
    state.at = lastState();
    play();
  }
  describe(true);
  invalidate();
}

/* How much of the film is behind, in states: it ends at the data, or with Add noise at the noise. */
const soFar = () => state.forward ? lastState() - state.at : state.at;

/* A film that plays goes on from the state that is shown. */
function goOn() {
  if (playing()) state.motion.play = Math.floor(soFar()) * timing(state.data.F).cycle;
}

function play() {
  if (!state.data) return;
  const from = Math.round(soFar());
  state.motion = { play: (from >= lastState() ? 0 : from) * timing(state.data.F).cycle };
  invalidate();
}

/* The next speed of the film, up or down; a press of the button goes round. */
function quicken(by, round = false) {
  const k = PACES.indexOf(state.pace) + by, pace = PACES[round ? k % PACES.length : clamp(k, 0, PACES.length - 1)];
  $('[data-act=pace]').textContent = `${pace === 0.5 ? '½' : pace}×`;
  state.pace = pace;
}

function pause() {
  if (state.motion) glide(Math.round(state.at));
}

function glide(i) {
  if (!state.data) return;
  const to = clamp(i, 0, lastState());
  if (reducedMotion.matches) return goto(to);
  state.motion = to === state.at ? null : { from: state.at, to, elapsed: 0 };
  invalidate();
}

function goto(i) {
  if (!state.data) return;
  state.motion = null;
  state.at = clamp(Math.round(i), 0, lastState());
  describe();
  invalidate();
}

// ---------------------------------------------------------------- drawing

const soon = inFrame(frame);
function invalidate() {
  remember();
  soon();
}

function frame(now) {
  if (!root.isConnected) return dispose();
  if (!state.views[0]?.w) {
    state.last = 0;
    return;
  } // a hidden tab: ResizeObserver wakes us
  if (state.motion) advance(state.last ? Math.min(now - state.last, STALL_MS) : 0); // true time, however few the frames
  state.last = state.motion ? now : 0;
  state.theme ??= readTheme();
  if (!state.greeted && onScreen) { state.greeted = true; if (!reducedMotion.matches && state.at === 0) play(); }
  const another = describe();
  findField();
  for (const view of state.views) draw(view);
  if (!another) drawMachine();
  root.dataset.id = state.data.id;
  root.dataset.ready = '1';
  if (state.motion || another) invalidate();            // the diagram of another state comes a frame later
}

function measure() {
  const dpr = Math.min(devicePixelRatio || 1, 2);
  for (const view of state.views) {
    const w = Math.round(view.plot.clientWidth), h = Math.round(view.plot.clientHeight);
    if (w === view.w && h === view.h && dpr === view.dpr) continue;
    Object.assign(view, { w, h, dpr });
    view.canvas.width = w * dpr;
    view.canvas.height = h * dpr;
    state.theme = null;       // point shapes depend on the size
  }
}

/* The step that leaves the state, or made the last one, for a few samples of the DDGAN, else of the first panel. */
function drawMachine() {
  const { data, step } = state, i = Math.min(current(), lastState() - 1), held = focused(),
    key = [data.id, i, held].join();
  if (key === step) return;
  state.step = key;
  const shown = data.panels.filter(panel => !panel.error), panel = shown.find(p => p.key === 'ddgan') ?? shown[0];
  $('.step-machine').hidden = !panel;
  if (!panel) return;
  const few = Array.from({ length: Math.min(IN_DIAGRAM, data.n) }, (_, k) => Math.floor(k * data.n / IN_DIAGRAM));
  const chosen = held === null ? few : [held, ...few];
  const at = (buffer, i) => chosen.map(j => pointOf(buffer, i, j));
  diagram.show({
    key: panel.key, label: panel.label, t: data.t[i], s: data.t[i + 1], dim: data.dim, limit: data.limit,
    axes: data.axes, xt: at(panel.x, i), x0: at(panel.x0, i), xs: at(panel.x, i + 1), held: held === null ? null : 0,
  });
}

// ---------------------------------------------------------------- input

/* For a projector: nothing but the stage, large. It is in the address too. */
const PRESENT = 'data-present', whole = document.documentElement;
function present(on = !whole.hasAttribute(PRESENT)) {
  whole.toggleAttribute(PRESENT, on);
  $('[data-act=present]').setAttribute('aria-pressed', on);
  keepInAddress({ present: on ? '1' : null });
  state.theme = null;
  invalidate();
}

onEscape(() => whole.hasAttribute(PRESENT), () => present(false));

/* Keys of the page, wherever the focus is but where one types. */
listen(document, 'keydown', e => {
  if (!forPage(e)) return;
  if (takesBack(e) && !e.shiftKey) obey(e, { [e.key]: past.undo });
  else if (!e.ctrlKey && !e.metaKey && !e.altKey)
    obey(e, { p: () => present(), n: addNoise, '<': () => quicken(-1), '>': () => quicken(1) });
});

for (const what of ['pointerdown', 'keydown'])
  listen(document, what, e => { state.presses += !e.repeat; }, { capture: true });

/* The entry of a tab that shows no points has no query of them. */
listen(window, 'popstate', () => {
  past.came(new URLSearchParams(location.search).has('tab') ? null : location.search.slice(1));
});

function nearest(view, event) {
  if (!view || view.panel.error) return null;
  const box = view.canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
  return closest(state.data.n, j => place(view, xOf(view), state.at, j), [px, py], PICK_RADIUS);
}

const viewOf = target => state.views.find(v => v.plot.contains(target));

function hover(j) {
  if (state.hover === j) return;
  state.hover = j;
  invalidate();
}

panels.addEventListener('pointermove', e => e.pointerType !== 'touch' && hover(nearest(viewOf(e.target), e)));
panels.addEventListener('pointerleave', () => hover(null));
panels.addEventListener('click', e => {
  const view = viewOf(e.target), j = nearest(view, e);
  state.pinned = j === state.pinned ? null : j;
  if (view && !view.panel.error) pick(view, e, j);
  invalidate();
});

root.addEventListener('click', e => {
  const { act, fork: what } = e.target.closest('button')?.dataset ?? {};
  if (what) fork(what);
  if (act === 'undo') past.undo();
  if (act === 'noise') addNoise().catch(error => say(error.message, true));
  if (act === 'present') present();
  if (act === 'pace') quicken(1, true);
});

root.addEventListener('change', e => {
  const { layer } = e.target.dataset;
  if (layer) { state.layers[layer] = e.target.checked; invalidate(); }
  if (e.target.matches('[data-all]')) root.toggleAttribute('data-numbers', e.target.checked);
});

const release = () => { if (state.dragging) { state.dragging = false; glide(Math.round(state.at)); } };
range.addEventListener('pointerdown', () => { state.dragging = true; });
for (const name of ['pointerup', 'pointercancel']) listen(window, name, release);

range.addEventListener('input', () => {
  const value = range.valueAsNumber;
  // Without a pointer this is assistive technology nudging by 0.001: it means one state.
  if (!state.dragging)
    return goto(
      Number.isInteger(value) ? value : value > state.at ? Math.floor(state.at) + 1 : Math.ceil(state.at) - 1,
    );
  state.motion = null;
  state.at = reducedMotion.matches ? Math.round(value) : value;
  invalidate();
});

function follow(way) {
  const { followed } = state.data, k = followed.indexOf(state.pinned);
  state.pinned = followed[k < 0 ? 0 : (k + way + followed.length) % followed.length];
  invalidate();
}

// ---------------------------------------------------------------- life cycle

let onScreen = false;
const sizes = onSize(() => {
  measure();
  if (state.data) { scale(); describe(true); keepRun(); }
  invalidate();
}, 560);
onSight(on => {
  onScreen = on;
  if (on) invalidate();
}, '0px 0px -20% 0px');
onTheme(() => { state.theme = null; invalidate(); });
listen(document, 'visibilitychange', () => { state.last = 0; });      // no frame comes while the page is hidden
listen(reducedMotion, 'change', () => { if (reducedMotion.matches) pause(); });

root.stage = {
  state: () => state.data ? current() : null,
  points: p => {
    const { data } = state, x = state.forward ?? data.panels[p].x, i = current();
    return x ? Array.from({ length: data.n }, (_, j) => pointOf(x, i, j)) : [];
  },
  goto, play, pause, run,
  hold: j => { state.pinned = j; invalidate(); },
  wanted: () => state.wanted,
  show: (values, problem) => { want(values, problem); return true; },
  opened: values => { state.asked ??= values; root.dataset.opened = '1'; },
  held: values => { state.asked = values; },
};
drive({
  ...root.stage, last: lastState, seek: glide, playing, panels, choose: follow,
  others: () => ({ Escape: state.pinned === null ? null : () => root.stage.hold(null) }),
});
present(new URLSearchParams(location.search).get('present') === '1');
// What is asked for first: what another tab has put here, or the address of the page, which its head has fetched.
{
  const { values, problem, opened } = document.wanted ?? {};
  if (opened) root.stage.opened(opened);
  if (values) want(values, problem);
  else load(location.search.slice(1), '', '');
}
