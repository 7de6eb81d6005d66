/* The live: one training as it happens. Plain canvas, no library; colours and type are those of the stage.

Gradio runs it after common.js, pictures.js, replay.js and players.js, for ddgan/ui/train.py. Where nothing was trained
yet, it plays the recorded run.
props.diagram is the diagram of an update, as SVG.
props.target, a JSON string, once a run:
  label                             what the data are called
  dim (1 | 2), limit, scale         half width of the view in data units; int16 * scale = data units
  axes                              as of the stage
  size, data                        the density of the data, base64 uint8, row 0 on top (dim 1: a curve)
props.value, a JSON string, about six a second while it trains, "" before:
  run, state, note                  id; waiting | training | paused | done | stopped | failed; a sentence
  T, step, seconds, budget, modes   what is sampled with; updates; seconds of training so far and at most; of the data
  players                           who learned in the last update: "dg", "d", "g", or "" before the first
  cloud                             null | base64 int16 (N, dim): EMA samples, always from the same noise
  surface                           null | {peak, data: base64 uint8}: D's logits over x_0 given x_1 = 0, 0 ~ -peak, 255
                                    ~ +peak; null too where there is no D
  arrows                            null | base64 int16 (K, 2 dim): from a draw of G given x_1 = 0 to where D pulls it
  curve                             base64 float32 (P, 5): seconds, loss of D (nan without one), loss of G, modes
                                    covered, share on a mode
or {"error": sentence}, which keeps the picture. `server.place(run)` says how many trainings stand before a waiting one;
server.drive([run, what]) asks a run for what players.js says.

For tests: .live has data-ready, data-opened (it shows what it has), data-run, data-state, data-step, data-frames,
data-playing and .live = {points, curve}.
The recorded run's data-run and data-state are "recorded".
The page calls .live.link(settings), which puts them in the address. */

const WORDS = {
  recorded: 'Recorded',
  waiting: 'Waiting',
  training: 'Training',
  paused: 'Paused',
  done: 'Done',
  stopped: 'Stopped',
  failed: 'Stopped',
};
const PLACE_MS = 1000;        // between two questions about the place in the queue
const NARROW = 560, WIDE = 720;          // px from which the curves stand beside the cloud; from which D does too
const CHARTS = [              // name, lines: [label, column of the curve, colour, dash]; share: in parts of a whole
  { name: 'Losses', lines: [['D', 1, 'ink', []], ['G', 2, 'sample', [5, 3]]] },
  { name: 'Coverage', share: true, lines: [['modes covered', 3, 'ink', []], ['on a mode', 4, 'sample', [5, 3]]] },
];

const state = {
  frame: null,
  target: null,
  field: null,
  theme: null,
  spoken: 0,
  frames: 0,
  error: '',
  ahead: null,
  film: null,                 // the recorded run, while it is what is shown
  asked: false,               // for it
  lost: false,                // a training was under way when the page was loaded again
  at: 0, playing: false, speed: 1, ticking: 0, clock: 0,
};

// ---------------------------------------------------------------- markup

const icon = path => `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${path}"/></svg>`;
const PLAY = icon('M7 4l13 8-13 8z'), PAUSE = icon('M6 4h4v16H6zM14 4h4v16h-4z');

root.innerHTML = `
  <p class="stage-notice" role="status" aria-live="polite"></p>
  <div class="live-deck">
    <div class="live-numbers"><b class="live-state"></b><span data-n="step"></span><span data-n="rate"></span><span
      data-n="left"></span><span class="live-player" hidden><button type="button"></button><label>Speed
      <select>${SPEEDS.map(v => `<option value="${v}"${v === 1 ? ' selected' : ''}>${v}×</option>`).join('')}</select>
      </label></span><span class="live-player live-pace" hidden><label>Speed <select><option value="full">full</option>
      <option value="slow">slow motion</option></select></label></span></div>
    <div class="live-track"><div class="live-progress" role="progressbar" aria-label="Training" aria-valuemin="0"
      aria-valuemax="100"><i></i></div><input type="range" min="0" value="0" step="any" hidden
      aria-label="Place in the recorded run"></div>
  </div>
  <div class="live-pictures">
    <figure class="live-cloud"><figcaption><strong>Samples</strong><span></span></figcaption><div
      class="stage-plot"><canvas role="img" aria-label="Samples"></canvas><p>Press Start</p></div></figure>
    <figure class="live-surface"><figcaption><strong>How real D finds each x₀</strong><span></span></figcaption><div>
      <div class="stage-plot"><canvas role="img" aria-label="How real D finds each x₀"></canvas></div>
      <div class="live-key" aria-hidden="true"><span></span><i></i><span></span></div>
      <label class="live-arrows"><input type="checkbox" checked><span>What G draws there, and where D pulls
        it</span></label></div></figure>
    <div class="live-charts">${CHARTS.map(
      c => `<figure><figcaption><strong>${c.name}</strong>${c.lines
        .map(
          ([label, , colour, dash]) =>
            `<span class="live-line"><svg viewBox="0 0 22 6" aria-hidden="true"><path class="${colour}" d="M0 3H22"
              stroke-dasharray="${dash.join(' ')}"/></svg>${label} <b></b></span>`,
        )
        .join('')}</figcaption>
      <div class="live-chart"><canvas role="img" aria-label="${c.name}"></canvas></div></figure>`,
    ).join('')}</div>
  </div>
  <div class="live-turns">${props.diagram}</div>`;

const all = selector => [...root.querySelectorAll(selector)];
const notice = $('.stage-notice'), bar = $('.live-progress'), fill = $('.live-progress i');
const player = $('.live-player'), play = $('.live-player button'), pace = $('.live-player select');
const place = $('.live-track input'), pulled = $('.live-arrows input');
const cloud = $('.live-cloud canvas'), surface = $('.live-surface canvas');
const hint = $('.live-cloud p'), key = $('.live-key');
const charts = all('.live-chart canvas'), values = all('.live-line b');
const canvases = [cloud, surface, ...charts];
const turns = players($('.live-turns'), $('.live-pace'), what => server.drive([state.frame.run, what]));
const number = n => $(`[data-n=${n}]`);
const loss = v => (Number.isFinite(v) ? signed(v, 2) : '–');
const count = v => v.toLocaleString('en');

// ---------------------------------------------------------------- payload

function receive() {
  if (!props.value) return;
  let frame;
  try {
    frame = JSON.parse(props.value);
    if (frame.error) { state.error = frame.error; return describe(); }
    const target = props.target ? JSON.parse(props.target) : null;
    if (target && state.target?.data !== target.data) {
      state.target = { ...target, density: unpack(target.data, Uint8Array) };
      state.field = null;
    }
    frame.cloud &&= unpack(frame.cloud, Int16Array);
    frame.curve = unpack(frame.curve, Float32Array);
    if (frame.surface) frame.surface.data = unpack(frame.surface.data, Uint8Array);
    frame.arrows &&= unpack(frame.arrows, Int16Array);
  } catch (error) {
    state.error = `This frame could not be drawn: ${error.message}.`;
    return describe();
  }
  root.dataset.opened = '1';
  const before = state.frame;
  // a run that fails or waits has no new picture: the one before stays, if it is of the same run
  if (!frame.cloud && before?.run === frame.run) {
    const { cloud, surface, arrows } = before;
    Object.assign(frame, { cloud, surface, arrows });
  }
  Object.assign(state, { error: '', film: null, playing: false });
  state.frame = frame;
  if (before?.run !== frame.run) {
    Object.assign(state, { ahead: null, frames: 0 });
    // on a small screen what stands above fills it: bring what was started into sight
    const top = document.querySelector('#train-buttons') ?? root;
    if (root.getBoundingClientRect().top > 0.6 * innerHeight) bring(top);
  }
  state.frames += 1;
  if (frame.state === 'waiting') askPlace(frame.run);
  describe();
  invalidate();
}

async function askPlace(run) {
  const waiting = () => root.isConnected && state.frame?.run === run && state.frame.state === 'waiting';
  while (waiting()) {
    const ahead = await server.place(run);
    if (!waiting()) return;
    if (Number.isInteger(ahead)) { state.ahead = ahead; describe(); }
    await new Promise(done => setTimeout(done, PLACE_MS));
  }
}

// ---------------------------------------------------------------- the recorded run

/* Fetch it and play it, unless something is trained meanwhile. Who wants no motion gets its last frame. */
async function openFilm() {
  state.asked = true;
  const answer = await picture('recorded', '').catch(() => null);
  root.dataset.opened = '1';
  if (!answer || state.frame) return;
  const { target } = answer, film = state.film = filmOf(answer);
  state.target = { ...target, density: target.data };
  state.field = null;
  place.max = film.F - 1;
  state.at = reducedMotion.matches ? film.F - 1 : 0;
  show();
  roll(!reducedMotion.matches);
}

function roll(on) {
  if (on && state.at >= state.film.F - 1) state.at = 0;
  Object.assign(state, { playing: on, clock: performance.now() });
  state.ticking ||= requestAnimationFrame(tick);
  describe();
}

function tick(now) {
  state.ticking = 0;
  const { film, at, clock, speed } = state;
  if (!film || !state.playing || !root.isConnected || !root.clientWidth) return;
  state.at = later(film, at, now - clock, speed);
  state.clock = now;
  if (state.at >= film.F - 1) state.playing = false;
  show();
  if (state.playing) state.ticking = requestAnimationFrame(tick);
}

/* The recorded run where it stands; its words change with a frame. */
function show() {
  const { film, at, frame } = state;
  state.frame = shot(film, at);
  if (state.frame.step !== frame?.step || !state.playing) describe();
  place.value = at;
  invalidate();
}

play.addEventListener('click', () => roll(!state.playing));
pace.addEventListener('change', () => { state.speed = +pace.value; });
place.addEventListener('input', () => {
  Object.assign(state, { at: +place.value, playing: false });
  show();
});
pulled.addEventListener('change', () => invalidate());

// ---------------------------------------------------------------- words and numbers (DOM)

function sentence() {
  const { frame, ahead } = state;
  if (state.error) return state.error;
  if (!frame) return '';
  if (state.film && state.lost) return `Your training ended as the page was loaded again. ${frame.note}`;
  if (frame.state !== 'waiting' || !ahead) return frame.note;
  return `Waiting for its turn: one training runs here at a time, and ` +
    `${ahead === 1 ? 'one is' : ahead + ' are'} before yours.`;
}

function describe() {
  const { frame } = state, words = sentence();
  retext(notice, words);
  notice.classList.toggle('failed', !!state.error || frame?.state === 'failed');
  root.dataset.ready = '1';
  if (!frame) return;
  const recorded = !!state.film;
  Object.assign(root.dataset, {
    run: frame.run,
    state: frame.state,
    step: frame.step,
    frames: state.frames,
    playing: +state.playing,
  });
  player.hidden = place.hidden = !recorded;
  turns.show(frame, state.playing);
  bar.hidden = recorded;
  if (recorded) describePlayer();
  describeNumbers(frame);
  describeCaptions(frame);
  // the canvases' words at most once a second: screen readers and the DOM both tire
  const now = performance.now();
  if ((frame.state === 'training' || state.playing) && now - state.spoken < 1000) return;
  state.spoken = now;
  describeCanvases(frame);
}

/* A column of the curve's last row; null where there is none. */
const lastOf = (frame, column) => frame.curve[frame.curve.length - 5 + column] ?? null;

function describeNumbers(frame) {
  hint.hidden = !!frame.cloud;
  if (!frame.cloud) retext(hint, frame.state === 'waiting' ? 'Waiting' : '');
  retext($('.live-state'), WORDS[frame.state]);
  retext(number('step'), frame.step === 1 ? '1 update' : `${count(frame.step)} updates`);
  retext(number('rate'), frame.seconds > 0 ? `${Math.round(frame.step / frame.seconds)} a second` : '');
  const live = frame.state === 'training' || frame.state === 'paused', left = Math.max(0, frame.budget - frame.seconds);
  retext(number('left'), live ? `${Math.ceil(left)} s left` : `${frame.seconds.toFixed(1)} s of training`);
  const share = Math.min(1, frame.seconds / frame.budget);
  fill.style.width = `${100 * share}%`;
  bar.setAttribute('aria-valuenow', Math.round(100 * share));
  const none = !frame.curve.length, last = column => lastOf(frame, column);
  for (const i of [0, 1]) retext(values[i], none ? '' : loss(last(i + 1)));
  retext(values[2], none ? '' : `${last(3)} / ${frame.modes}`);
  retext(values[3], none ? '' : `${(100 * last(4)).toFixed(1)} %`);
}

/* Whether this training has no D: what D thinks of it is then not shown. */
const isAlone = frame => frame.cloud && !frame.surface;

function describeCaptions(frame) {
  const alone = isAlone(frame);
  retext(
    $('.live-cloud span'),
    `${frame.cloud ? count(frame.cloud.length / (state.target?.dim ?? 2)) : '1,000'} draws ` +
      `of the averaged generator, T = ${frame.T}, over ${state.target?.label ?? 'the data'}`,
  );
  key.style.visibility = pulled.parentElement.style.visibility = alone ? 'hidden' : '';
  retext(
    $('.live-surface span'),
    alone ? 'Nothing: this training has no D' :
      `in the last step, from x₁ = ${state.target?.dim === 1 ? '0' : '(0, 0), the cross'}`,
  );
  if (frame.surface) {
    const [low, high] = key.querySelectorAll('span');
    retext(low, `less real −${frame.surface.peak}`);
    retext(high, `${frame.surface.peak} more real`);
  }
}

function describeCanvases(frame) {
  if (!frame.curve.length) return;
  const last = column => lastOf(frame, column);
  cloud.setAttribute(
    'aria-label',
    `Samples after ${count(frame.step)} updates: ${last(3)} of ${frame.modes} modes covered, ` +
      `${(100 * last(4)).toFixed(1)} % on a mode`,
  );
  surface.setAttribute(
    'aria-label',
    isAlone(frame) ? 'No discriminator in this training' :
      `The discriminator's logits over x₀, between −${frame.surface?.peak} and ${frame.surface?.peak}, with ` +
      `${(frame.arrows?.length ?? 0) / (2 * (state.target?.dim ?? 2))} draws of G and where D pulls them`,
  );
  charts[0].setAttribute('aria-label', `Losses so far: now D ${loss(last(1))}, G ${loss(last(2))}`);
  charts[1].setAttribute(
    'aria-label',
    `Coverage so far: now ${last(3)} of ${frame.modes} modes, ${(100 * last(4)).toFixed(1)} % on a mode`,
  );
}

function describePlayer() {
  const again = state.at >= state.film.F - 1 ? ' again' : '', drawing = state.playing ? PAUSE : PLAY;
  const name = state.playing ? 'Pause the recorded run' : `Play the recorded run${again}`;
  if (play.title !== name) Object.assign(play, { title: name, innerHTML: drawing });
  play.setAttribute('aria-label', name);
  place.setAttribute('aria-valuetext', `${count(state.frame.step)} updates`);
}

// ---------------------------------------------------------------- drawing

const invalidate = inFrame(draw);

function draw() {
  if (!root.isConnected) return dispose();
  if (!root.clientWidth) return;          // a hidden tab: ResizeObserver wakes us
  state.theme ??= readTheme();
  const [onCloud, onSurface, ...onCharts] = canvases.map(blank), { frame, target, theme } = state;
  if (!frame || !target) return;
  const { dim, axes, limit } = target;
  if (dim === 2) drawCloud(onCloud); else drawHistogram(onCloud);
  drawScales(onCloud, axes, limit, theme, dim === 1 ? onCloud.h - 24 : null);
  if (frame.surface) {
    if (dim === 2) drawSurface(onSurface); else drawLogits(onSurface);
    if (frame.arrows && pulled.checked) drawArrows(onSurface);
    if (dim === 2) drawAsked(onSurface);
    drawScales(onSurface, axes, limit, theme);
  }
  CHARTS.forEach((chart, i) => drawChart(onCharts[i], chart));
}

function readTheme() {
  state.field = null;
  return themeOf(
    'sample', 'x0', 'plot', 'ink', 'muted', 'paper', 'line', 'density', 'density-peak', 'sample-alpha',
  );
}

function stretch({ ctx, w, h }, picture) {
  ctx.imageSmoothingQuality = 'high';
  ctx.drawImage(picture, 0, 0, w, h);
}

function drawCloud(view) {
  const { frame, target, theme } = state, { ctx, w } = view, unit = target.scale * w / (2 * target.limit);
  const law = rgb(theme.density);
  state.field ??= pixelated(target.size, target.size, k => [...law, theme['density-peak'] * target.density[k]]);
  stretch(view, state.field);
  if (!frame.cloud) return;
  const radius = Math.max(1.1, w / 260);
  ctx.fillStyle = theme.sample;
  ctx.globalAlpha = theme['sample-alpha'];
  for (let k = 0; k < frame.cloud.length; k += 2) {
    ctx.beginPath();
    ctx.arc(w / 2 + unit * frame.cloud[k], w / 2 - unit * frame.cloud[k + 1], radius, 0, 7);
    ctx.fill();
  }
  ctx.globalAlpha = 1;
}

/* 1-D: bars against the true curve; both have area 1, so they may be compared by eye. */
function drawHistogram({ ctx, w, h }) {
  const { frame, target, theme } = state, { limit, size: G } = target, base = h - 24;
  const area = sum(target.density) * 2 * limit / G, curve = Float64Array.from(target.density, v => v / area);
  const heights = histogram(frame.cloud?.length ?? 0, j => frame.cloud[j] * target.scale, 80, limit);
  const top = 1.35 * Math.max(...curve), y = v => base - (base - 10) * Math.min(1, v / top);
  drawBars(ctx, heights, w, base, y, theme.sample);
  line(ctx, [...curve].map((v, k) => [(k + 0.5) * w / G, y(v)]), theme.density, 2);
  line(ctx, [[0, base], [w, base]], theme.line, 1);
}

const mix = (a, b, u) => a.map((v, i) => v + (b[i] - v) * u);

function drawSurface(view) {
  const { frame, theme } = state, { data } = frame.surface, G = Math.round(Math.sqrt(data.length));
  const [real, fake, undecided] = [theme.sample, theme.x0, theme.plot].map(rgb);
  const shade = v => mix(undecided, v > 127.5 ? real : fake, Math.abs(v - 127.5) / 127.5).map(Math.round);
  const lut = Array.from({ length: 256 }, (_, v) => [...shade(v), 255]);
  stretch(view, pixelated(G, G, k => lut[data[k]]));
}

/* The x_1 that is asked about, over what is drawn there. */
function drawAsked({ ctx, w }) {
  const { theme: { paper, ink } } = state;
  for (const [colour, width] of [[paper, 4], [ink, 1.6]]) cross(ctx, [w / 2, w / 2], 6, colour, width);
}

/* 1-D: where a logit stands in a picture of this height. */
const heightOf = (v, h) => h / 2 - (h / 2 - 16) * (v - 127.5) / 127.5;

/* 1-D: the logits as a line over x_0, the zero line being D's indifference. */
function drawLogits({ ctx, w, h }) {
  const { frame, theme } = state, { data } = frame.surface;
  const curve = [...data].map((v, k) => [(k + 0.5) * w / data.length, heightOf(v, h)]);
  const halves = ctx.createLinearGradient(0, 0, 0, h);
  const stops = [theme.sample, theme.sample, theme.x0, theme.x0];
  stops.forEach((colour, i) => halves.addColorStop([0, 0.5, 0.5, 1][i], colour));
  ctx.beginPath();
  for (const [x, v] of [[0, h / 2], ...curve, [w, h / 2]]) ctx.lineTo(x, v);
  Object.assign(ctx, { fillStyle: halves, globalAlpha: 0.3 });
  ctx.fill();
  ctx.globalAlpha = 1;
  line(ctx, [[0, h / 2], [w, h / 2]], theme.line, 1);
  line(ctx, curve, theme.ink, 1.6);
}

/* What G draws given x_1, as dots, and where D's slope pulls each; in 1-D along the line of the logits. */
function drawArrows({ ctx, w, h }) {
  const { frame: { arrows, surface: { data } }, target, theme } = state, { dim, limit } = target;
  const unit = target.scale * w / (2 * limit);
  const logit = x => data[clamp(Math.floor(x / w * data.length), 0, data.length - 1)];
  const spot = k => {
    const x = w / 2 + unit * arrows[k];
    return dim === 2 ? [x, h / 2 - unit * arrows[k + 1]] : [x, heightOf(logit(x), h)];
  };
  for (let k = 0; k < arrows.length; k += 2 * dim) {
    const from = spot(k), to = dim === 2 ? spot(k + 2) : [w / 2 + unit * arrows[k + 1], from[1]];
    const [x, y] = [to[0] - from[0], to[1] - from[1]], long = Math.hypot(x, y);
    for (const [colour, wide] of [[theme.paper, 3.5], [theme.ink, 1.5]]) {
      line(ctx, [from, to], colour, wide);
      if (long < 4) continue;
      const [a, b] = [-4 * x / long, -4 * y / long];
      const wing = side => [to[0] + a - side * b / 1.6, to[1] + b + side * a / 1.6];
      line(ctx, [wing(1), to, wing(-1)], colour, wide);
    }
    disc(ctx, from, 2.6, theme.ink, theme.paper);
  }
}

/* Between which values losses are shown. D's is 2 log 2, or log 2, where it knows nothing: they reach from zero, or a
   log density, to at least 2. */
function reachOf(losses) {
  const seen = losses.filter(Number.isFinite), reach = v => [2, 3, 5, 10, 20].find(u => u >= v) ?? 20;
  const lowest = Math.min(0, ...seen);
  return [lowest && -reach(-lowest), reach(Math.max(0, ...seen))];
}

function drawChart({ ctx, w, h }, { lines, share }) {
  const { frame, theme } = state, rows = frame.curve.length / 5;
  const left = 34, right = w - 6, top = 8, bottom = h - 20;
  const series = lines.map(([, column]) =>
    Array.from({ length: rows }, (_, r) => frame.curve[5 * r + column] / (column === 3 ? frame.modes : 1)),
  );
  const [least, most] = share ? [0, 1] : reachOf(series.flat());
  const x = s => left + (right - left) * Math.min(1, s / frame.budget),
    y = v => bottom - (bottom - top) * clamp((v - least) / (most - least), 0, 1);
  ctx.font = `12px ${theme.font}`;
  ctx.fillStyle = theme.muted;
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'right';
  for (const part of [0, 0.5, 1]) {
    const v = least + part * (most - least);
    line(ctx, [[left, y(v)], [right, y(v)]], theme.line, 1);
    ctx.fillText(share ? `${100 * v}%` : `${v}`.replace('-', '−'), left - 6, y(v));
  }
  if (!share && frame.surface) {           // what both lose where D cannot tell real from fake
    for (const v of [Math.LN2, 2 * Math.LN2]) line(ctx, [[left, y(v)], [right, y(v)]], theme.line, 1, [2, 4]);
    const whole = 'D cannot tell: 2 log 2 (relativistic: log 2)', fits = ctx.measureText(whole).width < right - left;
    ctx.fillText(fits ? whole : 'D cannot tell', right, y(2 * Math.LN2) - 8);
  }
  ctx.textBaseline = 'alphabetic';
  ctx.textAlign = 'left';
  ctx.fillText('0', left, h - 4);
  ctx.textAlign = 'right';
  ctx.fillText(`${Math.round(frame.budget)} s`, right, h - 4);
  lines.forEach(([, , colour, dash], i) => {
    const points = series[i].map((v, r) => [x(frame.curve[5 * r]), y(v)]).filter(point => point.every(Number.isFinite));
    line(ctx, points, theme[colour], 1.8, dash);
    if (points.length) disc(ctx, points.at(-1), 2.6, theme[colour]);
  });
}

// ---------------------------------------------------------------- life cycle

onSize(() => {
  root.classList.toggle('wide', root.clientWidth >= WIDE);
  if (!root.clientWidth) return;
  if (!state.frame && !state.asked) openFilm();
  if (state.playing) roll(true);                // it stood still while the tab was not shown
  invalidate();
}, NARROW);
onTheme(() => { state.theme = null; invalidate(); });

root.live = {
  link: settings => keepInAddress({ train: settings.join(',') }),
  points: () => {
    const { frame, target } = state;
    return frame?.cloud
      ? Array.from({ length: frame.cloud.length / target.dim }, (_, j) =>
          Array.from({ length: target.dim }, (_, c) => frame.cloud[j * target.dim + c] * target.scale),
        )
      : [];
  },
  curve: () =>
    state.frame
      ? Array.from({ length: state.frame.curve.length / 5 }, (_, r) => [...state.frame.curve.slice(5 * r, 5 * r + 5)])
      : [],
};
/* A run ends with its page. Whoever loads the page again is told. */
listen(window, 'beforeunload', () => {
  const training = ['waiting', 'training', 'paused'].includes(state.frame?.state);
  history.replaceState({ ...history.state, training }, '');
});
state.lost = Boolean(history.state?.training);
describe();
watch('value', receive);
receive();
