/* Why few steps need many modes: a law on a line, every step that may be taken in it, and what a Gaussian misses there.

Gradio runs it after common.js and pictures.js, for ddgan/ui/why_tab.py.
The picture `why` (ddgan/views/why.py) has float64 arrays: mu, var, log_w (K) of the law; alpha_bar
(N + 1) of the vp schedule;
gap (n x n), the mean over x_t of KL(q(x_s | x_t) || best Gaussian) in nats, from t = level[column] to s = level[row];
z, weight: Gauss-Hermite nodes. Levels are counted 0 .. N. The law being four numbers a component, its conditionals are
computed here, at once while one drags; the tests hold them against the library's. props.choices, a JSON string, has
schedules, [label, name], and steps, the T, of which the picture `path` has {chosen, best}: t, the levels x_0 .. x_T as
times of the map, not whole, and nats, the bound of the chain of best Gaussians.

For tests: .why has data-ready, data-t, data-s, data-x, data-path, the schedule and T whose path is drawn, and .why =
{choose, gap, modes, curve, mean, best, path}. */

const choices = JSON.parse(props.choices);
const LIMIT = LOOKS.limit;                         // half the width of the view, in data units
const BANDS = [0.01, 0.03, 0.1, 0.3, 1];           // nats: the edges of the map's colours
const FRACTIONS = [[32, '1/32'], [8, '1/8'], [4, '1/4'], [2, '1/2'], [1, 'all']];
const ON_MAP = [1, 2, 4, 8, 16, 32, 64];           // the T whose steps stand on the map
const PAD = 0.35, OCTAVES = 6 + 2 * PAD;           // of the step's length, over the height of the map
const FIRST = ['vp', 4];                           // the schedule and the T whose path is on the map at first
const COUNTS = { 2: 'two', 3: 'three', 4: 'four', 6: 'six', 8: 'eight', 12: 'twelve' };
const CELLS = 400;                                 // of a curve
const MARGIN = { left: 46, right: 10, top: 20, bottom: 24 };

const state = {
  data: null,
  paths: null,                                     // {chosen, best}
  t: 0, step: 0, x: 0,                             // the chosen level, the step's length, the chosen x_t
  theme: null, marginal: null, map: null,          // read from CSS; pictures that depend on size and theme only
};

// ---------------------------------------------------------------- markup

const key = (name, text) => `<span class="why-key ${name}"><i></i><span>${text}</span></span>`;
const figure = (name, title, keys, handle, below = '') => `<figure class="why-figure ${name}">
  <figcaption><b>${title}</b><span>${keys}</span></figcaption>
  <div class="why-plot"><canvas aria-hidden="true"></canvas>${handle}</div>${below}</figure>`;
const handle = (name, label, low, high) =>
  `<div class="why-handle ${name}" role="slider" tabindex="0" aria-valuemin="${low}" aria-valuemax="${high}"
    aria-roledescription="point in a picture" aria-label="${label}"></div>`;

root.innerHTML = `
  <p class="why-notice" role="status" aria-live="polite"></p>
  <p class="why-lead">Going back, a step draws <i>x<sub>s</sub></i> from <i>q(x<sub>s</sub> | x<sub>t</sub>)</i>.
    A short step leaves one bump, and a Gaussian is enough; a long one that ends near the data must choose
    among its modes.
    The map shows what even the best Gaussian misses in a step. Which steps are taken is the schedule's choice: few
    steps of vp, the paper's schedule, lose nearly all in the last one. The best schedule spends its steps near the
    data; at T = 4 it loses a sixth of that.
    The law is 4 Gaussians on a line; <i>t</i> runs from 0, data, to 1, noise, on vp.</p>
  <div class="why-grid">
    <div class="why-column">
      ${figure(
        'flow',
        'Data becomes noise; drag x<sub>t</sub> and see where it came from',
        key('law', 'q(x<sub>t</sub>)') +
          key('back', 'q(x<sub>s</sub> | x<sub>t</sub>), all s &lt; t') +
          key('chosen', 'x<sub>t</sub>'),
        handle(
          'flow',
          'Chosen point x t. Left and right change the level t, up and down the value; with shift in small steps',
          -LIMIT,
          LIMIT,
        ),
      )}
      ${figure(
        'map',
        'What the best Gaussian misses, in nats, on average over x<sub>t</sub>',
        `<span class="why-bands"></span>` + key('walk', 'steps of vp') + key('taken', 'path of the schedule') +
          key('least', 'best path'),
        handle(
          'map',
          'Chosen step. Left and right change the level t, up and down make the step longer and shorter',
          0,
          1,
        ),
        `<div class="why-path"><label>Schedule <select name="schedule"></select></label><label>Steps T <select
          name="steps"></select></label><p role="status" aria-live="polite"></p></div>`,
      )}
    </div>
    <div class="why-column">
      <figure class="why-figure chosen"><figcaption><b
        class="why-title"></b><span>${
          key('back', 'q(x<sub>s</sub> | x<sub>t</sub>)') + key('best', 'best Gaussian') +
          key('chosen', 'x<sub>t</sub>')
        }</span></figcaption>
        <div class="why-plot"><canvas aria-hidden="true"></canvas></div><p class="why-numbers"></p></figure>
      <div class="why-ladder" role="group" aria-label="Longer and longer steps from the same x t">${FRACTIONS.map(
        ([part, text]) =>
          `<button type="button"
            data-part="${part}"><span><b>${part === 1 ? 'all the way, to x<sub>0</sub>' : `${text} of the way`}</b>` +
          '<output></output></span><canvas aria-hidden="true"></canvas></button>',
      ).join('')}</div>
    </div>
  </div>
  <p class="stage-sr" aria-live="polite"></p>`;

const picks = [...root.querySelectorAll('.why-path select')], pathWords = $('.why-path p');
const live = $('.stage-sr'), title = $('.why-title'), numbers = $('.why-numbers');
const flow = pane('.flow'), map = pane('.map'), chosen = pane('.why-figure.chosen');
const ladder = [...root.querySelectorAll('.why-ladder button')].map(button => ({
  button,
  canvas: button.querySelector('canvas'),
  part: +button.dataset.part,
  output: button.querySelector('output'),
}));

function pane(name) {
  const plot = $(`${name} .why-plot`);
  return { plot, canvas: plot.querySelector('canvas'), handle: plot.querySelector('.why-handle') };
}

const nats = v => Math.max(0, v) < 0.005 ? '0.00' : v.toFixed(2);
const part = t => +(t / state.data.N).toFixed(3);

// ---------------------------------------------------------------- the law, see laws.js

const across = t => Math.sqrt(t / state.data.N); // the pictures' axis: what matters happens near the data
const shortest = () => state.data.N / 64; // the levels that the pictures walk in
// a step's length on the map, 0 .. 1 from the top
const down = step => (Math.log2(state.data.N / step) + PAD) / OCTAVES;
const length = v => state.data.N * 2 ** (PAD - v * OCTAVES);
const target = () => Math.max(0, state.t - state.step);

const at = i => LIMIT * (2 * (i + 0.5) / CELLS - 1);
const curve = q => Float64Array.from({ length: CELLS }, (_, i) => density(q, at(i)));

const modes = q => bumps(curve(q));

// ---------------------------------------------------------------- choosing

function choose({ t = state.t, step = state.step, x = state.x }, byHand = true) {
  const { N } = state.data;
  state.t = clamp(Math.round(t), shortest(), N);
  state.step = clamp(Math.round(step), 1, N);
  state.x = clamp(x, -LIMIT, LIMIT);
  invalidate();
  if (byHand) settle();
}

const settle = calmly(() => {
  live.textContent =
    root.contains(document.activeElement) && document.activeElement.matches('.why-handle') ? '' : words();
  const { N } = state.data, exact = t => +(t / N).toFixed(4);
  keepInAddress({ why: [exact(state.t), exact(target()), +state.x.toFixed(3)] });
}, 250);

/* The link's t, s, x (t and s as parts of the whole walk), or null. */
function linked() {
  const text = new URLSearchParams(location.search).get('why');
  if (text === null) return null;
  const [t, s, x, ...more] = text.split(',').map(v => v.trim() === '' ? NaN : +v), { N } = state.data;
  if (![t, s, x].every(Number.isFinite) || more.length || !(0 <= s && s < t && t <= 1)) {
    say(
      `The link was not understood: why must be t,s,x with 0 ≤ s < t ≤ 1, got “${text.slice(0, 40)}”. ` +
        'This is the first view instead.',
    );
    return null;
  }
  return { t: t * N, step: Math.round(t * N) - Math.round(s * N), x };
}

/* The schedule and T that the two lists hold, and their path from the server; the newest choice wins. */
const path = () => [picks[0].value, +picks[1].value];

async function fetchPaths() {
  const wanted = path(), answer = await picture('path', `schedule=${wanted[0]}&T=${wanted[1]}`).catch(() => null);
  if (wanted.join() !== path().join()) return;
  state.paths = answer;
  root.dataset.path = answer ? wanted : '';
  pathWords.innerHTML = answer ? ofPaths(...wanted) : 'This path could not be computed.';
  invalidate();
}

function ofPaths(name, T) {
  const { chosen, best } = state.paths, many = T === 1 ? 'single step' : `${COUNTS[T] ?? T} steps`;
  const both = name === 'optimal' ? [chosen.t] : [chosen.t, best.t], clipped = [];
  const [levels, steps] = [noisier, shorter].map(count => sum(both.map(count)));
  if (levels) clipped.push(`${levels} level${levels === 1 ? ' is' : 's are'} noisier than the map's`);
  if (steps) clipped.push(`${steps} step${steps === 1 ? ' is' : 's are'} shorter than the map shows`);
  return `<b>${name}, T = ${T}: ${nats(chosen.nats)} nats</b>; ` +
    (name === 'optimal'
      ? `no other ${many} ${T === 1 ? 'loses' : 'lose'} less from the same noise level, with log-SNRs up to 5.`
      : `the best ${many}: <b>${nats(best.nats)}</b>.`) +
    ' A chain of best Gaussians loses no more than that: it bounds KL(law ‖ samples).' +
    (clipped.length ? ` ${clipped.join(', and ')}: drawn at its edge.` : '');
}

/* How many levels and steps of a path do not fit on the map. */
const noisier = t => t.filter(v => v > state.data.N + 0.5).length;
const shorter = t => t.slice(1).filter((v, i) => v - t[i] < length(1)).length;

/* The steps of a path as places on the map, [t, step's length] from noise to data, clipped to it. */
const places = t =>
  t.slice(1).map((v, i) => [clamp(v, 0, state.data.N), clamp(v - t[i], length(1), state.data.N)]).reverse();

function linkedPath() {
  const [name, T] = (new URLSearchParams(location.search).get('path') ?? '').split(',');
  const { schedules, steps } = choices;
  return schedules.some(([, known]) => known === name) && steps.includes(+T) ? [name, +T] : FIRST;
}

function words() {
  const q = reverse(state.data, target(), state.t, state.x);
  return `t = ${part(state.t)}, s = ${part(target())}, x = ${signed(state.x, 2)}: ${counted(modes(q), 'mode')}, ` +
    `KL ${nats(gap(state.data, q))} nats; mean over x ${nats(meanGap(state.data, state.t, target()))} nats`;
}

// ---------------------------------------------------------------- drawing

const invalidate = inFrame(draw);

function readTheme() {
  const colour = colours(), shades = [...BANDS, 0].map((_, i) => colour(`shade-${i}`));
  return { shades, ...themeOf('density', 'sample', 'x0', 'best', 'focus', 'ink', 'muted', 'line', 'paper', 'plot') };
}

/* Canvas of an element and the room within its margins; null while it is hidden. */
function open(canvas) {
  if (!canvas.clientWidth || !canvas.clientHeight) return null;
  const { ctx, w, h } = blank(canvas), { left, right, top, bottom } = MARGIN;
  ctx.lineJoin = 'round';
  return { ctx, w, h, left, top, width: w - left - right, height: h - top - bottom };
}

/* A picture that only the theme and the size of its box change: state[name] keeps it. */
function kept(name, { width, height }, make) {
  const shape = `${width} ${height}`;
  if (state[name]?.shape !== shape) state[name] = { shape, canvas: make(width, height) };
  return state[name].canvas;
}

function draw() {
  if (!root.isConnected) return dispose();
  if (!state.data || !root.clientWidth) return;                  // a hidden tab: ResizeObserver wakes us
  state.theme ??= readTheme();
  drawFlow();
  drawMap();
  drawChosen();
  const s = target();
  Object.assign(root.dataset, { t: state.t, s, x: state.x, ready: 1 });
}

function label(ctx, text, x, y, { align = 'center', colour = state.theme.muted, bold = false } = {}) {
  ctx.font = `${bold ? '700 ' : ''}12.5px ${state.theme.font}`;
  ctx.textAlign = align;
  ctx.textBaseline = 'middle';
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
}

/* A picture of columns of densities, each over its own maximum: (level of column c, row r) -> coverage of one colour.
   */
function image(columns, rows, colour, peak, mixtureOf) {
  const canvas = offscreen(columns, rows), ctx = canvas.getContext('2d');
  const picture = ctx.createImageData(columns, rows),
    pixels = new Uint32Array(picture.data.buffer),
    [r, g, b] = rgb(colour);
  const pixel = (LIMIT / rows) ** 2, p = new Float64Array(rows);   // what is thinner than a pixel still has to be seen
  for (let c = 0; c < columns; c++) {
    const q = mixtureOf(c), wide = { ...q, v: q.v.map(v => v + pixel) };
    let high = 0;
    for (let i = 0; i < rows; i++) high = Math.max(high, p[i] = density(wide, LIMIT * (1 - 2 * (i + 0.5) / rows)));
    for (let i = 0; i < rows; i++)
      pixels[i * columns + c] = (Math.round(255 * peak * (p[i] / high) ** 0.7) << 24) | (b << 16) | (g << 8) | r;
  }
  ctx.putImageData(picture, 0, 0);
  return canvas;
}

function frame({ ctx, left, top, width, height }) {
  ctx.strokeStyle = state.theme.line;
  ctx.lineWidth = 1;
  ctx.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
}

function levels({ ctx, left, top, width, height }) {
  for (const [t, text, align] of [
    [0, 'data  0', 'left'],
    [0.05, '0.05', 'center'],
    [0.1, '0.1', 'center'],
    [0.25, 't = 0.25', 'center'],
    [0.5, '0.5', 'center'],
    [1, '1  noise', 'right'],
  ])
    label(ctx, text, left + Math.sqrt(t) * width, top + height + 14, { align });
}

function place(handle, x, y, value) {
  handle.style.transform = `translate(${x}px, ${y}px)`;
  handle.setAttribute('aria-valuenow', value);
  handle.setAttribute('aria-valuetext', words());
}

/* The law at all levels. */
function lawPicture(width, height) {
  const columns = Math.round(width / 2), { data, theme } = state;
  return image(columns, Math.round(height / 1.5), theme.density, 0.62, c =>
    marginal(data, Math.round(((c + 0.5) / columns) ** 2 * data.N)),
  );
}

function drawFlow() {
  const box = open(flow.canvas);
  if (!box) return;
  const { ctx, left, top, width, height } = box, { theme } = state, s = target();
  const rows = Math.round(height / 1.5), X = t => left + across(t) * width, Y = x => top + height * (1 - x / LIMIT) / 2;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.fillStyle = theme.plot;
  ctx.fill();
  ctx.imageSmoothingQuality = 'high';
  ctx.drawImage(kept('marginal', box, lawPicture), left, top, width, height);
  // what x_t leaves possible: its past, over a faded law
  ctx.globalAlpha = 0.72;
  ctx.fillRect(left, top, X(state.t) - left, height);
  ctx.globalAlpha = 1;
  const columns = Math.max(2, Math.round((X(state.t) - left) / 2));
  const past = image(columns, rows, theme.sample, 0.95, c =>
    reverse(state.data, Math.min(state.t - 1, Math.round(((c + 0.5) / columns) ** 2 * state.t)), state.t, state.x),
  );
  ctx.drawImage(past, left, top, X(state.t) - left, height);
  line(ctx, [[X(s), top], [X(s), top + height]], theme.ink, 1.5, [5, 4]);
  line(ctx, [[X(state.t), top], [X(state.t), top + height]], theme.focus, 1.5);
  ctx.restore();
  frame(box);
  levels(box);
  for (const x of [-2, -1, 0, 1, 2]) label(ctx, x ? signed(x, 0) : 'x = 0', left - 8, Y(x), { align: 'right' });
  const near = X(state.t) - X(s) < 24;
  label(ctx, 't', X(state.t) + (near ? 8 : 0), top - 10, { colour: theme.focus, bold: true });
  label(ctx, 's', X(s) - (near ? 8 : 0), top - 10, { colour: theme.ink, bold: true });
  place(flow.handle, X(state.t), Y(state.x), +state.x.toFixed(2));
}

/* The map's colours are bands, so that their edges are its contour lines. */
function mapPicture(width, height) {
  const W = Math.round(2 * width), H = Math.round(2 * height), shades = state.theme.shades.map(rgb);
  return pixelated(W, H, k => {
    const t = ((k % W + 0.5) / W) ** 2 * state.data.N, step = length((Math.floor(k / W) + 0.5) / H);
    if (step > t) return [0, 0, 0, 0];
    const g = meanGap(state.data, t, t - step);
    return [...shades[BANDS.filter(edge => g >= edge).length], 255];
  });
}

function drawMap() {
  const box = open(map.canvas);
  if (!box) return;
  const { ctx, left, top, width, height } = box, { theme, paths, data: { N } } = state;
  const X = t => left + across(t) * width, Y = step => top + height * down(step);
  ctx.drawImage(kept('map', box, mapPicture), left, top, width, height);
  levels(box);
  for (const T of ON_MAP) {
    const y = Y(N / T);
    label(ctx, T === 1 ? 'T = 1' : String(T), left - 8, y, {
      align: 'right',
      bold: state.t % (N / T) === 0 && state.t - target() === N / T,
    });
    const radius = clamp(width / T / 4.5, 1.2, 3.4), edge = T <= 16 ? theme.paper : null;
    for (let i = 1; i <= T; i++) disc(ctx, [X(i * N / T), y], radius, theme.ink, edge, 1.2);
  }
  label(ctx, 'a step of 1/T cannot start here', left + 8, top + 12, { align: 'left' });
  const along = ({ t }) => places(t).map(([t, step]) => [X(t), Y(step)]);
  if (paths) {
    drawPath(ctx, along(paths.best), theme.best, [6, 4], true);
    drawPath(ctx, along(paths.chosen), theme.x0, [], false);
  }
  place(map.handle, X(state.t), clamp(Y(state.t - target()), top, top + height), part(state.t - target()));
}

/* A schedule's steps over the map: squares or circles in a paper's outline, and the way from one to the next. */
function drawPath(ctx, points, colour, dash, square) {
  const { paper } = state.theme, r = points.length > 16 ? 3 : 4.5;
  line(ctx, points, paper, 5);
  line(ctx, points, colour, 2.2, dash);
  for (const [x, y] of points) {
    ctx.beginPath();
    if (square) ctx.rect(x - r, y - r, 2 * r, 2 * r);
    else ctx.arc(x, y, r, 0, 7);
    Object.assign(ctx, { fillStyle: colour, strokeStyle: paper, lineWidth: 1.5 });
    ctx.fill();
    ctx.stroke();
  }
}

function drawChosen() {
  const s = target(), q = reverse(state.data, s, state.t, state.x);
  title.innerHTML = `One step: t = ${part(state.t)} → s = ${part(s)}`;
  numbers.innerHTML = `<b>${counted(modes(q), 'mode')}</b>` +
    `<span>KL to the best Gaussian <b>${nats(gap(state.data, q))}</b> nats</span>` +
    `<span>mean over x<sub>t</sub> <b>${nats(meanGap(state.data, state.t, s))}</b> nats</span>`;
  drawCurve(chosen.canvas, q, true);
  for (const { button, canvas, part, output } of ladder) {
    button.disabled = state.t < part;
    if (button.disabled) { output.textContent = `shorter than 1/${state.data.N}`; open(canvas); continue; }
    const to = state.t - Math.max(1, Math.round(state.t / part)), q = reverse(state.data, to, state.t, state.x);
    button.setAttribute('aria-pressed', to === s);
    output.textContent = `${counted(modes(q), 'mode')} · ${nats(gap(state.data, q))} nats`;
    drawCurve(canvas, q, false);
  }
}

/* q filled, its best Gaussian dashed, on one scale; x_t as a mark on the axis. */
function drawCurve(canvas, q, ticks) {
  const box = open(canvas);
  if (!box) return;
  const { ctx, w, h } = box, { theme } = state, p = curve(q), g = curve(best(q));
  const base = h - (ticks ? 22 : 8), high = Math.max(...p, ...g), X = x => w * (1 + x / LIMIT) / 2;
  const points = values => Array.from(values, (v, i) => [X(at(i)), base - (base - 6) * v / high]);
  ctx.beginPath();
  ctx.moveTo(0, base);
  for (const [x, y] of points(p)) ctx.lineTo(x, y);
  ctx.lineTo(w, base);
  ctx.globalAlpha = 0.22;
  ctx.fillStyle = theme.sample;
  ctx.fill();
  ctx.globalAlpha = 1;
  line(ctx, [[0, base], [w, base]], theme.line, 1);
  line(ctx, points(p), theme.sample, 2);
  line(ctx, points(g), theme.best, 2, [6, 4]);
  ctx.beginPath();
  ctx.moveTo(X(state.x), base - 1);
  ctx.lineTo(X(state.x) - 5, base + 7);
  ctx.lineTo(X(state.x) + 5, base + 7);
  ctx.fillStyle = theme.focus;
  ctx.fill();
  if (ticks) for (const x of [-2, -1, 0, 1, 2]) label(ctx, x ? signed(x, 0) : 'x = 0', X(x), base + 14);
}

// ---------------------------------------------------------------- input

/* (t, v in 0..1 from the top) of a pointer over a picture. */
function where(pane, event) {
  const box = pane.canvas.getBoundingClientRect();
  return [
    clamp((event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right), 0, 1) ** 2 *
      state.data.N,
    clamp((event.clientY - box.top - MARGIN.top) / (box.height - MARGIN.top - MARGIN.bottom), 0, 1),
  ];
}

function chooseInFlow(event) {
  const [t, v] = where(flow, event);
  choose({ t, x: LIMIT * (1 - 2 * v) });
}

/* The step under the pointer; a step of one of the walks where one is near. */
function chooseInMap(event) {
  const [t, v] = where(map, event), { N } = state.data, free = Math.min(N, length(v));
  const walk = ON_MAP.find(T => Math.abs(Math.log2(N / T / free)) < 0.22),
    near = walk && t > N / walk / 2,
    step = near ? N / walk : free;
  choose({ t: near ? Math.max(1, Math.round(t / step)) * step : Math.max(t, step), step });
}

/* A mouse drags anywhere; a finger scrolls the page, taps to choose, and drags the handle alone. */
function draggable(pane, act) {
  let dragging = false;
  pane.plot.addEventListener('pointerdown', e => {
    if (!state.data || e.button || (e.pointerType === 'touch' && e.target !== pane.handle)) return;
    dragging = true;
    pane.plot.setPointerCapture(e.pointerId);
    pane.handle.focus({ preventScroll: true });
    e.preventDefault();
    act(e);
  });
  pane.plot.addEventListener('pointermove', e => dragging && act(e));
  for (const name of ['pointerup', 'pointercancel', 'lostpointercapture'])
    pane.plot.addEventListener(name, () => { dragging = false; });
  pane.plot.addEventListener('click', e =>
    state.data && e.pointerType === 'touch' && e.target !== pane.handle && act(e));
}

draggable(flow, chooseInFlow);
draggable(map, chooseInMap);

root.addEventListener('keydown', e => {
  const inFlow = e.target === flow.handle;
  if (!state.data || e.ctrlKey || e.metaKey || e.altKey || (!inFlow && e.target !== map.handle)) return;
  const wide = e.shiftKey ? 1 : shortest(),
    high = e.shiftKey ? 0.01 : 0.1,
    step = state.t - target(),
    ratio = e.shiftKey ? 2 ** 0.25 : 2;
  const longer = way =>
    choose({
      step: clamp(
        way > 0 ? Math.max(step + 1, Math.round(step * ratio)) : Math.min(step - 1, Math.round(step / ratio)),
        1,
        state.t,
      ),
    });
  const keys = {
    ArrowLeft: () => choose({ t: state.t - wide }),
    ArrowRight: () => choose({ t: state.t + wide }),
    ArrowUp: () => inFlow ? choose({ x: state.x + high }) : longer(1),
    ArrowDown: () => inFlow ? choose({ x: state.x - high }) : longer(-1),
  };
  obey(e, keys);
});

root.addEventListener('click', e => {
  const part = e.target.closest('.why-ladder button')?.dataset.part;
  if (part && state.data) choose({ step: Math.max(1, Math.round(state.t / part)) });
});

for (const pick of picks)
  pick.addEventListener('change', () => {
    fetchPaths();
    keepInAddress({ path: path().join() === FIRST.join() ? null : path() });
  });

// ---------------------------------------------------------------- life cycle

async function load() {
  let answer;
  try {
    answer = await picture('why', '', { waiting: say });
  } catch (error) {
    return say(error.message);
  }
  say('');
  const data = Object.fromEntries(Object.entries(answer).map(([name, found]) => [name, [...found]]));
  data.N = data.alpha_bar.length - 1;
  data.cell = data.alpha_bar.map((_, v) => Math.min(data.level.findLastIndex(l => l <= v), data.level.length - 2));
  state.data = data;
  $('.why-bands').innerHTML = ['0', ...BANDS]
    .map((edge, i) => `<i style="background: var(--look-shade-${i})"></i><span>${edge}</span>`)
    .join('');
  choose({ t: data.N / 8, step: 3 * data.N / 32, x: -0.4, ...linked() }, false);
  picks[0].append(...choices.schedules.map(([text, name]) => new Option(text, name)));
  picks[1].append(...choices.steps.map(T => new Option(T, T)));
  linkedPath().forEach((value, i) => { picks[i].value = value; });
  fetchPaths();
  const sizes = onSize(invalidate, 760);
  for (const { plot } of [flow, map, chosen]) sizes.observe(plot);
  onTheme(() => { state.theme = state.marginal = state.map = null; invalidate(); });
}

root.why = {
  choose: (t, s, x) => choose({ t, step: t - s, x }),
  gap: (s, t, x) => gap(state.data, reverse(state.data, s, t, x)),
  modes: (s, t, x) => modes(reverse(state.data, s, t, x)),
  curve: (s, t, x) => [...curve(reverse(state.data, s, t, x))],
  best: (s, t, x) => { const { m, v } = best(reverse(state.data, s, t, x)); return [m[0], v[0]]; },
  mean: (t, s) => meanGap(state.data, t, s),
  path: of => places(state.paths[of].t),
};
load();
