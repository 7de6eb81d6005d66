/* What could this x_t have been? One question {query, t, x, of}, its exact answer and what every denoiser draws there.

Gradio runs it after common.js and pictures.js, for ddgan/ui/posterior.py. The stage tells it what it shows and what was
clicked by two events on the document:
  ddgan:run {query, T, dim, limit, axes, linked}   ddgan:pick {t, x}
The pictures `posterior` and `map` of a question, QUERY&at=t,x,of, are those of ddgan/views/posterior.py: densities,
ratios and draws. One question is under way at a time; of those that come meanwhile only the last is asked. Where the
fold *In 3-D* is open, the picture `landscape` is a figure for assets/landscape.js, and plotly.js comes from our own
server; server.landscape_page(question) is the file of it, without plotly.js.

For tests: .posterior has data-answer, the question (JSON) whose answer is drawn, and .posterior.answer, the answer. */

const START = [0.3, 0.2], NUDGE = 0.05, CALM = 150;      // ms without a new answer, before surfaces follow

const state = {
  run: null,
  t: 1,
  x: [...START],
  of: 'x_0',
  draws: 'points',
  answer: null,
  map: null,
  mapKey: '',
  asked: '',
  busy: false,
  lost: false,
  coming: null,
  mapping: false,
  fold: null,           // of which question: the plane of z as G lays it, or the reason why there is none
  folding: false,
  onScreen: false,
  moved: false,         // by the reader, who then wants answers wherever the page stands
  raised: '',
  raising: false,
};

root.innerHTML = `
  <div class="posterior-head">
    <h2>What could this <span class="of-x"></span> have been?</h2>
    <button type="button" class="posterior-close" title="Back below the panels (Escape)">Close</button>
    <p class="posterior-lead">Click a point in a panel above, or move the cross in the map:
      the same x<sub>t</sub>, asked of all.</p>
    <div class="posterior-controls">
      <label>step <select aria-label="Step" data-in="t"></select></label>
      <label>x <input type="number" data-in="0" aria-label="First coordinate of x_t"></label>
      <label class="second">y <input type="number" data-in="1"
        aria-label="Second coordinate of x_t"></label>
      <span class="posterior-toggle" role="radiogroup" aria-label="Which law">
        <label class="stage-chip"><input type="radio" name="posterior-of" value="x_0" checked>clean data x₀</label>
        <label class="stage-chip"><input type="radio" name="posterior-of" value="x_s">next state<span
          class="s-x"></span></label>
      </span>
      <span class="posterior-toggle" role="radiogroup" aria-label="How draws are shown">
        <label class="stage-chip"><input type="radio" name="posterior-draws" value="points" checked>points</label>
        <label class="stage-chip"><input type="radio" name="posterior-draws" value="density">density</label>
        <label class="stage-chip" title="The plane of z, as G lays it over the plane of x₀: each cell of the grid is as
          likely as any other"><input type="radio" name="posterior-draws" value="grid">grid of z</label>
      </span>
    </div>
  </div>
  <p class="posterior-error" role="status" aria-live="polite"></p>
  <div class="posterior-grid">
    <figure class="posterior-cell map"><figcaption><strong>Where a Gaussian fails</strong><span
      class="map-note"></span></figcaption>
      <div class="posterior-plot" tabindex="0" role="application"
        aria-label="Choose x_t: arrow keys move it"><canvas></canvas></div>
      <div class="posterior-legend"></div></figure>
  </div>
  <details class="posterior-fold">
    <summary>In 3-D: the same laws as landscapes</summary>
    <p class="landscape-lead" role="status"></p>
    <div class="landscape"></div>
    <p class="landscape-note"></p>
    <button type="button" class="landscape-save" hidden>Save as a file that any browser opens (5 MB)</button>
  </details>
  <p class="stage-sr" aria-live="polite"></p>`;

const grid = $('.posterior-grid'), map = $('.map .posterior-plot'), live = $('.stage-sr'), fold = $('.posterior-fold');
let cells = [];
let limit = LOOKS.limit;                     // the stage's view, which is wider where the data are
const within = v => clamp(v, 0.1 - limit, limit - 0.1);

// ---------------------------------------------------------------- asking

const question = () => ({ query: state.run.query, t: state.t, x: state.x.slice(0, state.run.dim), of: state.of });

async function ask() {
  if (!state.run || !(state.onScreen || state.moved)) return;
  const wanted = question(), key = JSON.stringify(wanted);
  if (state.lost && key !== state.asked) state.coming.abort();
  if (state.busy || key === state.asked) return;
  state.busy = true;
  state.asked = key;
  const { signal } = state.coming = new AbortController();
  try {
    const answer = await picture('posterior', address(wanted), { signal, waiting: lost });
    say('');
    take(answer, key);
  } catch (error) {
    if (!signal.aborted) say(error.message);
  }
  state.busy = state.lost = false;
  chart();
  ask();
}

/* The server does not answer: what is asked next does not wait for that. */
function lost(words) {
  state.lost = true;
  say(words);
}

const SAMPLES = ['seed', 'n', 'forks'];         // what changes samples, and no law
/* A question as the query of its picture, without what does not change it. */
const address = ({ query, t, x, of }, ...others) => `${but(query, ...SAMPLES, ...others)}&at=${[t, ...x, of].join()}`;

/* The map, where another one is due; answers do not wait for it. */
async function chart() {
  const wanted = question(),
    { query, t, of } = wanted,
    key = JSON.stringify([but(query, ...SAMPLES, 'denoisers'), t, of]);
  if (state.mapping || key === state.mapKey) return;
  state.mapping = true;
  state.mapKey = key;
  const of_map = { ...wanted, x: wanted.x.map(() => 0) };
  try {
    state.map = await picture('map', address(of_map, 'denoisers', 'eta', 'budget'));
    drawMap();
  } catch {
    state.mapKey = '';                               // the next point asks again
    return;
  } finally {
    state.mapping = false;
  }
  chart();
}

function take(answer, key) {
  state.answer = answer;
  root.answer = answer;
  root.dataset.answer = key;
  build();
  draw();
  unfold();
  raiseSoon();
  const { panels, modes, gap } = answer;
  live.textContent =
    `From ${counted(modes, 'mode')} of the data, KL to the best Gaussian ${gap.toFixed(2)} nats. ` +
    panels.map(p => `${p.label}: ${p.error ?? `energy distance ${signed(p.energy, 3)}.`}`).join(' ');
  rememberSoon();
}

const raiseSoon = calmly(raise, CALM), rememberSoon = calmly(remember, 300);    // browsers limit changes of an address

/* How G lays the plane of z over that of what is asked for, where that is to be seen: of the question that is
   answered. */
async function unfold() {
  const of = root.dataset.answer;
  if (state.draws !== 'grid' || !of || state.folding || of === state.fold?.of) return;
  state.folding = true;
  try {
    state.fold = { of, ...await picture('fold', address(JSON.parse(of))) };
    root.dataset.fold = of;
    say('');
  } catch (error) {
    state.fold = { of };
    say(error.message);
  }
  state.folding = false;
  build();
  draw();
  unfold();
}

function remember() {
  if (state.run.linked && root.clientWidth)
    keepInAddress({
      draws: state.draws === 'points' ? null : state.draws,
      landscape: fold.open ? '1' : null,
      at: [state.t, ...state.x.slice(0, state.run.dim).map(v => +v.toFixed(3)), state.of].join(','),
    });
}

function fromAddress() {
  const asked = new URLSearchParams(location.search), parts = (asked.get('at') ?? '').split(',');
  if (['density', 'grid'].includes(asked.get('draws'))) state.draws = asked.get('draws');
  fold.open = asked.get('landscape') === '1';
  const of = parts.pop(), [t, ...x] = parts.map(Number);
  if (!['x_0', 'x_s'].includes(of) || !(t >= 1) || !x.length || !x.every(Number.isFinite)) return;
  Object.assign(state, { t, x: [x[0], x[1] ?? START[1]].map(within), of });
}

function move(change, moved = true) {
  Object.assign(state, change);
  state.moved ||= moved;
  state.x = state.x.map(v => +within(v).toFixed(3));    // as the link holds it
  controls();
  if (root.clientWidth) drawMap();
  ask();
}

// ---------------------------------------------------------------- in 3-D

let relief = null;    // what is drawn
const seen = some => { for (const part of ['.landscape', '.landscape-save']) $(part).hidden = !some; };

/* The landscape of the question that is answered, where the fold is open and shows another one. */
async function raise() {
  if (!fold.open || !state.answer || state.raising) return;
  const wanted = JSON.parse(root.dataset.answer),
    key = JSON.stringify({ ...wanted, query: but(wanted.query, ...SAMPLES) });
  if (key === state.raised) return;
  state.raising = true;
  state.raised = key;
  const words = $('.landscape-lead');
  if (!relief) words.textContent = 'Coming …';
  try {
    const found = await picture('landscape', address(wanted));
    relief ??= landscape($('.landscape'), await plotly(found.plotly), isDark);
    await relief.show(found.figure);
    words.textContent = found.lead;
    $('.landscape-note').textContent = found.note;
    fold.dataset.landscape = key;
    seen(true);
  } catch (error) {
    words.textContent = error.message;
    $('.landscape-note').textContent = '';
    seen(false);
    state.raised = '';          // whoever asks next asks again
  }
  state.raising = false;
  if (state.raised) raise();
}

async function save() {
  const said = $('.landscape-note');
  try {
    const address = location.origin + location.pathname,
      found = JSON.parse(await server.landscape_page({ ...JSON.parse(root.dataset.answer), address }));
    if (found.error) throw new Error(found.error);
    const script = await (await fetch(plotlyAt(found.plotly))).text(),
      file = new Blob([found.page.replace(found.mark, () => script)], { type: 'text/html' });
    const link = Object.assign(make('a'), { href: URL.createObjectURL(file), download: found.name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  } catch (error) {
    said.textContent = `The file could not be made: ${error.message}.`;
  }
}

fold.addEventListener('toggle', () => {
  raise();
  if (state.answer) remember();
});
$('.landscape-save').addEventListener('click', save);

// ---------------------------------------------------------------- controls (DOM)

function controls() {
  const { run, t, x, of, draws } = state, select = $('[data-in=t]');
  if (select.length !== run.T)
    select.replaceChildren(
      ...Array.from({ length: run.T }, (_, i) => new Option(`${subscript(i + 1)} → ${subscript(i)}`, i + 1)),
    );
  select.value = t;
  for (const c of [0, 1]) {
    const input = $(`[data-in="${c}"]`);
    const axis = axisOf(run.axes, c);
    input.step = +(NUDGE * axis.unit).toPrecision(1);
    if (document.activeElement !== input) input.value = (axis.centre + axis.unit * x[c]).toFixed(axis.digits);
  }
  $('.second').hidden = run.dim === 1;
  for (const radio of root.querySelectorAll('[type=radio]'))
    radio.checked = radio.value === of || radio.value === draws;
  $('.of-x').textContent = subscript(t);
  $('.s-x').textContent = subscript(t - 1);
}

root.addEventListener('change', e => {
  const { in: name } = e.target.dataset;
  if (name === 't') return move({ t: +e.target.value });
  if (e.target.name === 'posterior-of') return move({ of: e.target.value });
  if (e.target.name === 'posterior-draws') {
    state.draws = e.target.value;
    if (!state.answer) return;
    remember();
    build();
    draw();
    return unfold();
  }
  if (!name) return;
  const { centre, unit, digits } = axisOf(state.run.axes, name), typed = (e.target.valueAsNumber - centre) / unit;
  if (Number.isFinite(typed)) move({ x: Object.assign([...state.x], { [name]: typed }) });
  e.target.value = (centre + unit * state.x[name]).toFixed(digits);
});

map.addEventListener('keydown', e => {
  const step = NUDGE * (e.shiftKey ? 4 : 1),
    [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key] ?? [0, 0];
  if (!dx && !dy || !state.run) return;
  e.preventDefault();
  move({ x: [state.x[0] + step * dx, state.x[1] + step * dy] });
});

const under = e => {
  const [x, y] = inPlane(map, e, limit);
  return [x, state.run.dim === 1 ? state.x[1] : y];
};
map.addEventListener('pointerdown', e => {
  if (state.run) {
    map.setPointerCapture(e.pointerId);
    map.focus({ preventScroll: true });
    move({ x: under(e) });
  }
});
map.addEventListener('pointermove', e => { if (map.hasPointerCapture(e.pointerId)) move({ x: under(e) }); });

// ---------------------------------------------------------------- cells (DOM)

const percent = v => (100 * v).toFixed(v < 0.0995 ? 1 : 0);
const HUMP = 0.1; // nats to the best Gaussian: with less, numbers at the modes would look like as many humps
const FEW = 0.1; // share of the draws that are on a mode: with fewer, the weights of the modes say nothing
const NUMBERS = [
  ['on_mode', 'On a mode', v => (100 * v).toFixed(1) + ' %'],
  ['modes', 'Weights off by', v => (100 * v).toFixed(1) + ' %'],
  ['energy', 'Energy distance', v => signed(v, 3)],
];

/* What a panel's picture shows. */
function noteOf(p, { of, t, dim }) {
  if (p.error) return '\u00a0';
  if (of === 'x_0' && p.gaussian && p.key !== 'gaussian') return 'no draw: one x₀, a mean';
  if (isFolded(p))
    return 'the plane of z, by cells that are equally likely' + (of === 'x_s' && t > 1 ? '; with ε = 0' : '');
  const draws = `${state.draws === 'density' ? 'density of ' : ''}${p.points.length / dim} draws`;
  return draws + (p.gaussian ? ', their Gaussian' : ' over the truth');
}

/* The cells of the answer: {key, label, note, error}. */
function cellsOf(answer) {
  const { panels, surfaces, of, t } = answer, target = of === 'x_0' ? 'x₀' : subscript(t - 1);
  return [
    {
      key: 'truth',
      label: `Truth: q(${target}|${subscript(t)})`,
      note: answer.gap < HUMP ? 'hardly more than one hump; best Gaussian' : 'weights in %, best Gaussian',
    },
    ...panels.map(p => ({ key: p.key, label: p.label, note: noteOf(p, answer), error: p.error })),
    surfaces && {
      key: 'optimal',
      label: 'Best discriminator',
      note: 'what the best D would answer: the log of true over DDGAN density',
    },
    surfaces?.learned && {
      key: 'learned',
      label: 'Its discriminator',
      note: 'how real it finds each point; a penalty holds its slope down',
    },
  ].filter(Boolean);
}

function newCell({ key, label, error }) {
  const figure = make('figure', `posterior-cell ${key}`),
    caption = make('figcaption'),
    plot = make('div', 'posterior-plot'),
    canvas = make('canvas');
  caption.append(make('strong', '', label), make('span'));
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', label);
  plot.append(canvas);
  if (error) plot.append(make('p', '', error));
  const numbers = make(['optimal', 'learned'].includes(key) ? 'div' : 'dl', 'posterior-numbers');
  figure.append(caption, plot, numbers);
  grid.append(figure);
  return { key, figure, canvas, numbers, error };
}

/* The numbers under a cell: [name, value, noise floor if it has one]. */
const fillNumbers = (cell, rows) => cell?.numbers.replaceChildren(...rows.map(([name, value, floor]) => {
  const row = make('div'), dd = make('dd', '', value);
  if (floor !== undefined) dd.append(make('small', '', `\u00a0(${floor})`));
  row.title = floor === undefined ? '' : 'In brackets what as many exact draws score once, by chance alone.';
  row.append(make('dt', '', name), dd);
  return row;
}));

function build() {
  const { answer } = state, { panels, surfaces, of, t } = answer, wanted = cellsOf(answer),
    clean = of === 'x_0' || t === 1;      // in the last step both laws are one
  const shape = JSON.stringify(wanted.map(({ note, ...rest }) => rest));
  if (shape !== state.shape) {
    state.shape = shape;
    for (const cell of cells) cell.figure.remove();
    cells = wanted.map(newCell);
  }
  wanted.forEach(({ note }, i) => { cells[i].figure.querySelector('figcaption span').textContent = note; });
  const cell = key => cells.find(c => c.key === key);
  const heaviest = answer.weights.slice(0, 3).map(m => percent(m.weight));
  fillNumbers(cell('truth'), [
    ['Data modes ≥ 1 %', `${answer.modes} / ${answer.of_modes}`],
    ['The heaviest', `${heaviest.join(', ')} %`],
    ['Entropy of weights', `${answer.entropy.toFixed(2)} nats`],
    [`KL to best Gaussian${of === 'x_0' && t > 1 ? ', at one go' : ''}`, `${signed(answer.gap, 2)} nats`],
  ]);
  for (const p of panels)
    if (!p.error)
      fillNumbers(
        cell(p.key),
        NUMBERS.filter(([key]) => clean || key !== 'on_mode').map(([key, name, text]) => [
          name,
          key === 'modes' && clean && p.on_mode < FEW ? '–' : text(p[key]),
          text(answer.floor[key]),
        ]),
      );
  const [high, low] = answer.dim === 1 ? ['Above the line', 'below'] : ['Blue', 'orange'];
  const signs = {
    optimal: `${high}: the DDGAN comes here too rarely, ${low}: too often.`,
    learned: `${high}: it takes this for real, ${low}: for made.`,
  };
  for (const [key, says] of Object.entries(signs))
    cell(key)?.numbers.replaceChildren(make('p', '', `${says} Shown up to ${surfaces.nats} nats.`));
}

// ---------------------------------------------------------------- drawing

const isDark = () => document.body.classList.contains('dark');
const readTheme = () => themeOf('sample', 'x0', 'ink', 'focus', 'paper', 'density');

function draw() {
  if (!root.clientWidth) return;
  const theme = readTheme();
  drawMap(theme);
  for (const cell of cells) if (!cell.error) drawCell(cell, theme);
}

/* A picture of as many rows, (r, g, b, a) of its k-th cell, scaled up smoothly; kept as long as its data are. */
const pictures = new WeakMap();
function field({ ctx, w, h }, data, rows, colour) {
  const dark = isDark();
  if (pictures.get(data)?.dark !== dark)
    pictures.set(data, { dark, canvas: pixelated(data.length / rows, rows, k => colour(data[k], k)) });
  ctx.drawImage(pictures.get(data).canvas, 0, 0, w, h);
}

/* Lines of equal height through a picture of size x size cells: marching squares. */
function contour({ ctx, w, h }, data, size, level, colour) {
  ctx.beginPath();
  for (let k = 0; k < size * (size - 1); k++) {
    if (k % size === size - 1) continue;
    const corners = [k, k + 1, k + size + 1, k + size], crossed = [];
    for (let c = 0; c < 4; c++) {
      const a = corners[c], b = corners[(c + 1) % 4];
      if ((data[a] > level) === (data[b] > level)) continue;
      const part = (level - data[a]) / (data[b] - data[a]), between = of => 0.5 + of(a) + part * (of(b) - of(a));
      crossed.push([between(i => i % size) * w / size, between(i => Math.floor(i / size)) * h / size]);
    }
    for (let c = 0; c + 1 < crossed.length; c += 2) { ctx.moveTo(...crossed[c]); ctx.lineTo(...crossed[c + 1]); }
  }
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1;
  ctx.stroke();
}

const place = ({ w, h }, x) => [w / 2 * (1 + x[0] / limit), h / 2 * (1 - (x[1] ?? 0) / limit)];

function drawMap(theme = readTheme()) {
  const view = blank(map.firstElementChild);
  if (!state.run) return;
  if (state.map?.x.length === state.run.dim) {
    const { x, size, data, seen, seen_size, low, top } = state.map, line = x.length === 1;
    field(view, data, line ? 1 : size, v => [...heat(v / 255), 255]);
    // where x_t never is, the map fades
    field(view, seen, line ? 1 : seen_size, v => [...rgb(theme.paper), 190 * (1 - Math.min(1, v / 60))]);
    $('.map-note').textContent = `KL(q || best Gaussian) at every ${subscript(state.t)}`;
    const nats = v => v < 0.0005 ? '0' : v < 0.005 ? v.toFixed(3) : v.toFixed(2);
    $('.posterior-legend').innerHTML = `<span>${nats(low)}</span><i></i><span>${nats(top)} nats</span>`;
  }
  scales(view, theme);
  const at = place(view, state.x.slice(0, state.run.dim));
  for (const [colour, width] of [[theme.paper, 5], [theme.focus, 2]]) cross(view.ctx, at, 9, colour, width);
}

const scales = (view, theme) => drawScales(view, state.run.axes, limit, theme);

function drawCell({ key, canvas }, theme) {
  const view = blank(canvas);
  if (!view.w) return;
  fillCell(key, view, theme);
  if (state.answer.dim === state.run.dim) scales(view, theme);
}

function fillCell(key, view, theme) {
  const { answer } = state, line = answer.dim === 1;
  if (key === 'optimal' || key === 'learned') {
    const { size, seen } = answer.surfaces, ratio = answer.surfaces[key];
    if (line) return balance(view, ratio, seen, size, theme);
    const up = rgb(theme.sample), down = rgb(theme.x0);
    return field(view, ratio, size, (v, k) => [...(v > 0 ? up : down), Math.abs(v) * 2 * Math.min(1, seen[k] / 40)]);
  }
  const tint = theme.density,
    p = answer.panels.find(p => p.key === key),
    colour = answer.of === 'x_0' ? theme.x0 : theme.sample;
  if (line) curve(view, i => 0.9 * answer.truth[i] / 255, answer.size, tint, true);
  else if (p && state.draws === 'density') field(view, p.density, answer.size, v => [...rgb(colour), 0.9 * v]);
  else field(view, answer.truth, answer.size, v => [...rgb(tint), (isDark() ? 235 : 215) * v / 255]);
  if (!line && (!p || state.draws === 'density'))
    for (const level of LEVELS) contour(view, answer.truth, answer.size, level, p ? theme.ink : tint);
  if (!p) { ellipse(view, answer, theme); return weigh(view, answer, theme); }
  if (isFolded(p)) laid(view, colour);
  else if (state.draws !== 'density') dots(view, p.points, answer, colour);
  else if (line) {
    const unit = 0.9 / 255 * sum(answer.truth) / sum(p.density);
    curve(view, i => Math.min(1, unit * p.density[i]), answer.size, colour);
  }
  if (p.gaussian) ellipse(view, { ...answer, ...p.gaussian }, theme);
}

const LEVELS = [0.04, 0.3].map(part => 255 * Math.sqrt(part));    // of the highest density, whose root is drawn

/* Draws as dots or, on a line, bars. */
function dots(view, points, answer, colour) {
  const { ctx } = view;
  ctx.fillStyle = colour;
  if (answer.dim === 1) return bars(view, points, answer);
  ctx.globalAlpha = 0.55;
  for (let j = 0; j < points.length; j += 2) {
    const [x, y] = place(view, [points[j] * answer.scale, points[j + 1] * answer.scale]);
    ctx.fillRect(x - 1, y - 1, 2, 2);
  }
  ctx.globalAlpha = 1;
}

/* Whether a panel shows the plane of z. */
const isFolded = p => state.draws === 'grid' && state.fold?.key === p.key;

const EVERY = 4;              // of the lattice's lines one is drawn, through all of its points

/* The lines of the plane of z, both ways. */
function laid(view, colour) {
  const { lines, size, scale } = state.fold, { ctx } = view;
  const at = k => place(view, [lines[2 * k] * scale, lines[2 * k + 1] * scale]);
  const each = Array.from({ length: size }, (_, i) => i);
  ctx.globalAlpha = 0.4;
  for (const i of each.filter(i => i % EVERY === 0)) {
    line(ctx, each.map(j => at(i * size + j)), colour, 0.8);
    line(ctx, each.map(j => at(j * size + i)), colour, 0.8);
  }
  ctx.globalAlpha = 1;
}

/* The weights of the modes in percent, heaviest first, wherever there is still room. */
function weigh(view, { weights, truth, dim, size, gap }, theme) {
  if (gap < HUMP) return;      // their modes lie in one hump
  const { ctx, w, h } = view, taken = [];
  ctx.save();
  Object.assign(ctx, {
    font: `600 11px ${theme.font}`,
    textAlign: 'center',
    textBaseline: 'middle',
    lineWidth: 3,
    lineJoin: 'round',
    strokeStyle: theme.paper,
    fillStyle: theme.ink,
  });
  for (const { at, weight } of weights) {
    const text = String(Math.round(100 * weight)), half = ctx.measureText(text).width / 2 + 2;
    const [x, mid] = place(view, at), cell = clamp(Math.floor(x / w * size), 0, size - 1);
    const y = dim === 1 ? clamp(h * (1 - 0.9 * truth[cell] / 255) - 14, 8, h - 8) : mid - 9;
    const hidden = taken.some(other => Math.abs(other.x - x) < half + other.half && Math.abs(other.y - y) < 12);
    if (hidden || x < half || x > w - half || y < 6) continue;
    taken.push({ x, y, half });
    ctx.strokeText(text, x, y);
    ctx.fillText(text, x, y);
  }
  ctx.restore();
}

/* Heights in 0..1 over the line, as a filled or a plain curve. */
function curve({ ctx, w, h }, height, size, colour, filled = false) {
  ctx.beginPath();
  for (let i = 0; i < size; i++) ctx.lineTo((i + 0.5) * w / size, h * (1 - height(i)) - 4);
  ctx.strokeStyle = colour;
  ctx.lineWidth = 2;
  ctx.stroke();
  if (filled) {
    ctx.lineTo(w, h);
    ctx.lineTo(0, h);
    ctx.fillStyle = colour;
    ctx.globalAlpha = 0.3;
    ctx.fill();
    ctx.globalAlpha = 1;
  }
}

/* A log ratio over the line, zero in the middle, which fades where hardly a sample lies. */
function balance({ ctx, w, h }, ratio, seen, size, theme) {
  const at = k => [(k + 0.5) * w / size, h * (0.5 - 0.45 * ratio[k] / 127)];
  line(ctx, [[0, h / 2], [w, h / 2]], theme.ink, 1, [3, 4]);
  for (let k = 1; k < size; k++) {
    ctx.globalAlpha = Math.min(1, seen[k] / 40);
    line(ctx, [at(k - 1), at(k)], theme.ink, 2);
  }
  ctx.globalAlpha = 1;
}

/* The height over the line, in 0..1, of a density of one, as the truth's curve is drawn. */
const unitOf = ({ truth, size }) => 0.9 * sum(truth) / 255 * 2 * limit / size;

/* Draws on a line, as bars whose area equals that under the truth's curve. */
function bars({ ctx, w, h }, points, answer) {
  const unit = unitOf(answer);
  ctx.globalAlpha = 0.6;
  histogram(points.length, j => points[j] * answer.scale, 96, limit).forEach((v, b) => {
    const high = Math.min(1, v * unit);
    if (v) ctx.fillRect(b * w / 96, h * (1 - high) - 4, w / 96 - 0.5, h * high);
  });
  ctx.globalAlpha = 1;
}

/* Two standard deviations of a Gaussian or, on a line, its density. */
function ellipse(view, answer, theme) {
  const { ctx, h } = view, { mean, cov, dim } = answer;
  ctx.strokeStyle = theme.focus;
  ctx.lineWidth = 2;
  ctx.beginPath();
  if (dim === 1) {
    const std = Math.sqrt(cov[0][0]), top = unitOf(answer) / (std * Math.sqrt(2 * Math.PI));
    for (let i = 0; i <= 160; i++) {
      const x = (i / 80 - 1) * limit;
      ctx.lineTo(...[place(view, [x])[0], h * (1 - top * Math.exp(-0.5 * ((x - mean[0]) / std) ** 2)) - 4]);
    }
  } else {
    const l = Math.sqrt(cov[0][0]), m = cov[0][1] / l, k = Math.sqrt(Math.max(0, cov[1][1] - m * m)); // Cholesky
    for (let i = 0; i <= 72; i++) {
      const u = 2 * Math.cos(i * Math.PI / 36), v = 2 * Math.sin(i * Math.PI / 36);
      ctx.lineTo(...place(view, [mean[0] + l * u, mean[1] + m * u + k * v]));
    }
  }
  ctx.stroke();
}

// ---------------------------------------------------------------- life cycle

const heard = run => {
  const first = !state.run;
  state.run = run;
  limit = run.limit;
  if (first) fromAddress();
  state.t = clamp(Math.round(state.t), 1, state.run.T);
  move({}, false);
};
hear('run', heard);
/* The answer to a click stands beside the panels, where there is room, until it is closed. */
const beside = on => document.documentElement.toggleAttribute('data-beside', on);
function close() {
  const inside = root.contains(document.activeElement);
  beside(false);
  if (inside) document.querySelector('#stage .stage-panels').focus({ preventScroll: true });
}
hear('pick', ({ t, x }) => {
  if (!state.run) return;
  beside(true);
  move({ t, x: x.length === 1 ? [x[0], state.x[1]] : [...x] });
});
const closer = $('.posterior-close');
closer.addEventListener('click', close);
onEscape(() => closer.checkVisibility(), close);
onSize(draw);
onTheme(() => { draw(); relief?.draw(); });
onSight(on => {
  state.onScreen = on;
  ask();
}, '200px');
/* The answer is asked for in sight only: on paper, none stands below other panels than its own. */
onPaper(root, () => root.dataset.answer !== JSON.stringify(state.run && question()));
const shown = document.querySelector('#stage .stage')?.stage?.run?.();
if (shown) heard(shown);
