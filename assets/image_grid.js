/* The gallery: images on the way from noise, by several denoisers from the same noise, on one scrubber.

Gradio runs it after common.js and scrubber.js, for ddgan/ui/images.py.
It reads props.value, a JSON string, which ddgan/views/image_grid.py makes:
  id, query, T, n, shape [C, H, W]  query: the URL query string of this run, "" to leave the address alone
  t, a, sigma                       F labels, sqrt(alpha_bar) and noise std, from the noisiest state down to x_0
  panels                            [{key, label, note, classes, error, x, x0}]: base64 PNG, a row a state, a column a
                                    sample; classes: null | the names of the classes that the samples were asked for
                                    (x: F rows; x0: F - 1 rows, what is predicted from the state of that row)
  levels                            sqrt(alpha_bar) of x_T, ..., x_1
  edit                              null | {t, image}: the image that was noised to x_t, base64 PNG
  message, error, progress          a quiet sentence; a failure, which keeps the last picture; {done, of, label}
  asked, controls                   see `answered` in ddgan/ui/words.py
Every image is drawn in whole device pixels a pixel, never smoothed.

It tells the document `ddgan:images` what is chosen. For tests: .gallery has data-ready,
data-id, data-state, data-t, data-chosen and .gallery = {state, goto, choose, run, pixels}. */

const MOST = 8; // css pixels a pixel, at most
const BEAT = 950; // ms at a state while playing
const LABEL = 18; // css pixels for the names over a strip
const BESIDE = 440, FEW = 6; // css pixels of a panel with room for the way beside the grid, of so many states at most
const HEAD = 470; // css pixels that a grid leaves to what stands over and under it
const REST = 615; // css pixels that it leaves where the way is below it: to that, and to the class bars after it
const FOOT = 17; // css pixels for the name of a class under its sample
const VIEWS = [
  ['x', '<span>x<sub>t</sub></span>', 'The states that the denoiser has reached'],
  ['x0', 'Predicted x₀', 'What the denoiser answers for each state'],
  ['both', 'Both', 'Each state, and the x₀ predicted from it'],
];

const state = {
  data: null, views: [],      // the payload, its sheets decoded; per panel {panel, grids, strip}
  at: 0, timer: null,         // index of the state that is shown; set while playing
  chosen: 0, of: null,        // the sample whose strip is shown; the key of the panel in which it was chosen
  show: 'x',
  latest: 0, greeted: false,
};

// ---------------------------------------------------------------- markup

root.innerHTML = `
  <p class="stage-notice" role="status" aria-live="polite"></p>
  <div class="gallery-edit" hidden><canvas aria-hidden="true"></canvas><span></span><button type="button"
    data-act="away">Begin at noise again</button></div>
${deckMarkup(
  `<div class="stage-layers" role="radiogroup" aria-label="What is shown">${VIEWS.map(
    ([name, text, title]) =>
      `<label class="stage-chip" title="${title}"><input type="radio" name="gallery-show"
        value="${name}">${text}</label>`,
  ).join('')}</div>`,
  1,
  {
    below: `<div class="gallery-progress" hidden><progress max="1" value="0"
    aria-label="Sampling"></progress><span></span><button type="button" data-act="cancel">Cancel</button></div>`,
  },
)}
  <div class="gallery-panels" role="group" tabindex="0"
    aria-label="Images. Up and down arrows choose another sample, left and right another step, Enter another denoiser."
    ></div>
  <p class="stage-sr" aria-live="polite"></p>`;

const range = $('input[type=range]'), panels = $('.gallery-panels'), live = $('.stage-sr');
const bar = $('.gallery-progress'), begun = $('.gallery-edit');
const last = () => state.data.t.length - 1;
const undo = () => document.querySelector('#images-undo');    // the button, which stands outside root

// ---------------------------------------------------------------- payload

async function picture(text) {
  const image = new Image();
  image.src = `data:image/png;base64,${text}`;
  await image.decode();
  return image;
}

async function decode(p) {
  const [, H, W] = p.shape, F = p.t.length;
  const decoded = await Promise.all(
    p.panels.map(async panel => {
      if (panel.error) return panel;
      const [x, x0] = await Promise.all([picture(panel.x), picture(panel.x0)]);
      if (x.width !== p.n * W || x.height !== F * H || x0.height !== (F - 1) * H)
        throw new Error(`the sheets of ${panel.label} have the wrong size`);
      return { ...panel, x, x0 };
    }),
  );
  return { ...p, panels: decoded, edit: p.edit && { ...p.edit, image: await picture(p.edit.image) } };
}

/* Whether a picture was asked for after all that came before: the events that ask may overtake each other. */
let newest = 0;
const isNews = ({ asked = newest }) => asked >= newest && (newest = asked, true);

/* Ask for what the controls hold, by a button that nobody sees, unless that was asked for last: Gradio says `input`
twice when something is chosen from a list, and once when a list is only left. */
const ask = (controls, button) => {
  const wanted = JSON.stringify(controls);
  if (wanted === root.controls) return;
  root.controls = wanted;
  document.getElementById(button).click();
};
const wasAsked = ({ controls, error }) => { root.controls = error ? '' : JSON.stringify(controls); };

async function receive() {
  if (!props.value) return;
  let mine;
  try {
    const payload = JSON.parse(props.value);
    if (!isNews(payload)) return;
    wasAsked(payload);
    mine = ++state.latest;
    if (payload.progress) return advance(payload.progress);
    const data = payload.error ? null : await decode(payload);
    if (mine !== state.latest) return;
    advance(null);
    if (!data) return say(payload.error, true);
    show(data);
    say(payload.message);
  } catch (error) {
    if (mine !== state.latest) return;
    advance(null);
    say(`This run could not be drawn: ${error.message}.`, true);
  }
}

function advance(progress) {
  bar.hidden = !progress;
  root.classList.toggle('stale', !!progress);
  if (!progress) return;
  bar.querySelector('progress').value = progress.done / progress.of;
  bar.querySelector('span').textContent =
    progress.label ? `${progress.label}: step ${progress.done} of ${progress.of}` : 'Waiting …';
}

/* Another picture was asked for: what is shown is not what the controls say any more. */
function awaited() {
  if (bar.hidden) advance({ done: 0, of: 1 });
  return run();
}

/* What was asked will not come: it may be asked again. */
function idle() {
  root.controls = '';
  advance(null);
}

/* What is shown, the step that leaves it and the sample that is chosen, for whoever asks or listens. */
const run = () =>
  state.data && {
    query: state.data.id,
    t: state.data.t[state.at],
    step: state.data.t[Math.min(state.at, last() - 1)],
    item: state.chosen,
    of: state.of,
  };
/* The step that leaves the state, or made the last one, of the chosen sample, as assets/machine.js draws it. */
const step = () => {
  const { data, of: key, chosen } = state, i = Math.min(state.at, last() - 1);
  const [xt, x0, xs] = [['x', i], ['x0', i], ['x', i + 1]].map(([kind, row]) => tile(key, kind, row, chosen));
  return { key, label: data.panels.find(panel => panel.key === key).label, t: data.t[i], s: data.t[i + 1], xt, x0, xs };
};
const kind = () => ({ shape: state.data.shape, T: state.data.T, a: state.data.levels, edit: state.data.edit });

const announce = calmly(() => {
  if (state.data && root.clientWidth && !state.timer) tell('images', { ...run(), ...kind() });
}, 200);

const drawnKeys = data => data.panels.filter(panel => !panel.error).map(panel => panel.key);

function show(data) {
  const before = state.data;
  state.data = data;
  if (!before) {
    state.at = reducedMotion.matches ? last() : 0;
    recall();
  } else {                    // a changed control must not move the reader: the same place on the scrubber
    state.at = Math.round(state.at / (before.t.length - 1) * last());
  }
  state.chosen = clamp(state.chosen, 0, data.n - 1);
  const drawn = drawnKeys(data);
  if (!drawn.includes(state.of)) state.of = drawn[0] ?? null;
  range.max = last();
  for (const control of root.querySelectorAll('.stage-bar button, .stage-bar input, .stage-scrub input'))
    control.disabled = !drawn.length;
  buildPanels();
  buildScale(data);
  describe();
  address();
  if (undo()) undo().disabled = !new URLSearchParams(data.id).get('forks');
  if (!state.greeted && drawn.length) { state.greeted = true; if (!reducedMotion.matches) play(); }
}

// ---------------------------------------------------------------- address

/* The run and the view are in the address while the tab is shown; what is as at first is left out. */
function address() {
  const { data } = state;
  if (!data?.query || !root.clientWidth) return;
  const t = data.t[state.at];
  keepInAddress({
    ...NO_REQUEST,
    layers: null,
    ...Object.fromEntries(new URLSearchParams(data.query)),
    t: t === 0 ? null : t,
    hold: state.chosen || null,
    of: state.of === drawnKeys(data)[0] ? null : state.of,
    show: state.show === 'x' ? null : state.show,
  });
}

function recall() {
  const asked = new URLSearchParams(location.search),
    wanted = parseInt(asked.get('t')),
    hold = parseInt(asked.get('hold'));
  if (asked.get('data') !== new URLSearchParams(state.data.query).get('data')) return;     // another tab's
  if (state.data.t.includes(wanted)) { state.at = state.data.t.indexOf(wanted); state.greeted = true; }
  if (hold >= 0) state.chosen = hold;
  state.of = asked.get('of');
  if (VIEWS.some(([name]) => name === asked.get('show'))) state.show = asked.get('show');
}

// ---------------------------------------------------------------- panels and scrubber (DOM)

function buildPanels() {
  panels.replaceChildren();
  state.views = state.data.panels.map(panel => {
    const figure = make('figure', 'gallery-panel'), caption = make('figcaption');
    const alone = make('span');
    caption.append(make('strong', '', panel.label), alone, make('span', '', panel.note ?? ''));
    figure.append(caption);
    panels.append(figure);
    if (panel.error) { figure.append(make('p', 'gallery-error', panel.error)); return { panel, grids: [] }; }
    const row = make('div', 'gallery-grids');
    const grids = ['x', 'x0'].map(kind => {
      const part = make('div', 'gallery-grid'), name = make('span'), canvas = make('canvas');
      canvas.setAttribute('role', 'img');
      canvas.dataset.panel = panel.key;
      part.append(name, canvas);
      row.append(part);
      return { kind, part, name, canvas };
    });
    const along = make('figure', 'gallery-way'), title = make('figcaption'), way = make('canvas');
    way.setAttribute('role', 'img');
    way.dataset.panel = panel.key;
    along.append(title, way);
    row.append(along);
    figure.append(row);
    return { panel, grids, alone, title, way };
  });
}

function describe() {
  const { data, at } = state, t = data.t[at];
  range.value = at;
  for (const input of root.querySelectorAll('[name=gallery-show]')) input.checked = input.value === state.show;
  showPlaying(!!state.timer);
  const words = `${showState(data, at)}, sample ${state.chosen} chosen`;
  range.setAttribute('aria-valuetext', words);
  if (!state.timer && root.dataset.ready) live.textContent = document.activeElement === range ? '' : words;
  draw();
  Object.assign(root.dataset, { state: at, t, chosen: state.chosen, id: data.id });
  if (root.clientWidth) root.dataset.ready = '1';
  announce();
  remember();
}

const remember = calmly(() => { if (!state.timer) address(); }, 300);

// ---------------------------------------------------------------- motion

function play() {
  if (state.at === last()) state.at = 0;
  state.timer = setInterval(() => {
    if (!root.isConnected) return dispose();
    state.at = Math.min(state.at + 1, last());
    if (state.at === last()) pause(); else describe();
  }, BEAT);
  describe();
}

function pause() {
  clearInterval(state.timer);
  state.timer = null;
  describe();
}

function goto(i) {
  if (!state.data) return;
  clearInterval(state.timer);
  state.timer = null;
  state.at = clamp(i, 0, last());
  describe();
}

function choose(j, key = state.of) {
  Object.assign(state, { chosen: clamp(j, 0, state.data.n - 1), of: key });
  describe();
}

// ---------------------------------------------------------------- drawing

/* Columns and rows of tiles on a canvas `room` css pixels wide: a whole number of device pixels to a pixel.
   There are `head` css pixels over all rows, and `foot` under each. */
function fit(canvas, [, H, W], room, columns, rows, head = 0, foot = 0) {
  const dpr = devicePixelRatio || 1, gap = Math.round(2 * dpr), top = Math.round(head * dpr);
  const below = Math.round(foot * dpr);
  const k = clamp(Math.floor((room * dpr - (columns + 1) * gap) / (columns * W)), 1, Math.round(MOST * dpr));
  const high = k * H + gap + below;
  const width = columns * (k * W + gap) + gap, height = rows * high + gap + top;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  Object.assign(canvas.style, { width: width / dpr + 'px', height: height / dpr + 'px' });
  const ctx = canvas.getContext('2d');
  ctx.clearRect(0, 0, width, height);
  ctx.imageSmoothingEnabled = false;
  const corner = (c, r) => [gap + c * (k * W + gap), top + gap + r * high];
  const place = (event) => {
    const box = canvas.getBoundingClientRect(),
      x = (event.clientX - box.left) * dpr,
      y = (event.clientY - box.top) * dpr - top;
    return [clamp(Math.floor(x / (k * W + gap)), 0, columns - 1), clamp(Math.floor(y / high), 0, rows - 1)];
  };
  const tile = (sheet, i, j, c, r) => ctx.drawImage(sheet, j * W, i * H, W, H, ...corner(c, r), k * W, k * H);
  const frame = (c, r, colour, rows = 1) => {
    const [x, y] = corner(c, r), line = Math.round(3 * dpr);
    ctx.strokeStyle = colour;
    ctx.lineWidth = line;
    ctx.strokeRect(x - line / 2, y - line / 2, k * W + line, rows * high - gap - below + line);
  };
  const name = (text, c, r, colour) => {
    const [x, y] = corner(c, r);
    ctx.font = `${Math.round(12 * dpr)}px ${getComputedStyle(root).fontFamily}`;
    Object.assign(ctx, { textAlign: 'center', textBaseline: 'middle', fillStyle: colour });
    ctx.fillText(text, x + (k * W) / 2, y + k * H + below / 2 + 2 * dpr, k * W);
  };
  return { ctx, dpr, k, corner, tile, frame, name, place, size: k * W, width: width / dpr };
}

/* [columns, css pixels] of a grid over the way: tiles as large as its room, the window's height and `largest` allow,
   twice their image at least, and then as square as can be. */
function gridOver(n, [, H, W], room, largest, foot) {
  const square = Math.ceil(Math.sqrt(n)), high = innerHeight - REST;
  const found = Array.from({ length: square }, (_, i) => square - i).map(rows => {
    const columns = Math.ceil(n / rows), wide = (room - 2 * (columns + 1)) / (columns * W);
    const most = (largest - 2 * (square + 1)) / (square * W);
    return [columns, Math.floor(wide), Math.floor(Math.min(wide, most, (high / rows - 2 - foot) / H))];
  });
  const fits = found.reduce((best, grid) => grid[2] > best[2] ? grid : best);
  const [columns, , k] = fits[2] >= 2 ? fits : found.findLast(grid => grid[1] >= 2) ?? found[0];
  return [columns, columns * (Math.max(2, k) * W + 2) + 2];
}

function draw() {
  const { data, at, chosen, show } = state;
  if (!data || !root.clientWidth) return;
  drawEdit();
  const colour = colours();
  const foot = data.panels.some(panel => panel.classes) ? FOOT : 0; // of all, so that rows stand side by side
  for (const { panel, grids, alone, title, way } of state.views) {
    if (panel.error) continue;
    const room = Math.floor(panels.firstChild.getBoundingClientRect().width),
      end = at === last(),
      both = show === 'both' && !end, // x_0 is its own prediction: one grid
      beside = !both && room >= BESIDE && data.t.length <= FEW,
      largest = both ? (room - 12) / 2 : Math.min(beside ? 0.46 * room : room, 470, Math.max(270, innerHeight - HEAD)),
      over = !both && !beside && room >= BESIDE,
      square = Math.ceil(Math.sqrt(data.n)),
      [columns, wide] = over ? gridOver(data.n, data.shape, room, largest, foot) : [square, largest],
      rows = Math.ceil(data.n / columns);
    for (const grid of grids) {
      grid.part.hidden = !both && grid.kind !== (end || show === 'both' ? 'x' : show);
      if (grid.part.hidden) continue;
      const t = subscript(data.t[at]),
        what = grid.kind === 'x' ? t : `x₀ predicted from ${t}`;
      (both ? grid.name : alone).textContent = what;
      (both ? alone : grid.name).textContent = '';
      const asked = panel.classes ? `; their classes: ${panel.classes.join(', ')}` : '';
      grid.canvas.setAttribute('aria-label', `${panel.label}: ${data.n} images, ${what}${asked}`);
      grid.on = fit(grid.canvas, data.shape, wide, columns, rows, 0, foot);
      grid.canvas.dataset.columns = columns;
      const sheet = grid.kind === 'x' ? panel.x : panel.x0;
      for (let j = 0; j < data.n; j++) {
        const place = [j % columns, Math.floor(j / columns)];
        grid.on.tile(sheet, at, j, ...place);
        if (panel.classes) grid.on.name(panel.classes[j], ...place, colour(j === chosen ? 'focus' : 'muted'));
      }
      grid.on.frame(chosen % columns, Math.floor(chosen / columns), colour('focus'));
    }
    const taken = grids.find(grid => !grid.part.hidden).on.width;
    drawWay(panel, title, way, colour, beside ? room - taken - 16 : room);
  }
}

/* The whole way of the chosen sample: the states, and under each the x_0 that is predicted from it. */
function drawWay(panel, title, way, colour, room) {
  const { data, at, chosen } = state,
    F = data.t.length,
    on = fit(way, data.shape, Math.min(room, 150 * F), F, 2, LABEL);
  title.style.maxWidth = `${room}px`;
  const of = panel.classes ? `, class ${panel.classes[chosen]}, ` : '';
  title.replaceChildren(
    make('b', '', `Sample #${chosen}`), `${of} at each state; below it the x₀ predicted from there`,
  );
  way.setAttribute('aria-label', `${panel.label}, sample ${chosen}: the ${F} states, and the x₀ predicted from each`);
  way.on = on;
  on.ctx.font = `${Math.round(13 * on.dpr)}px ${getComputedStyle(root).fontFamily}`;
  on.ctx.textAlign = 'center';
  data.t.forEach((t, i) => {
    on.ctx.fillStyle = colour(i === at ? 'focus' : 'ink');
    on.ctx.fillText(subscript(t), on.corner(i, 0)[0] + on.size / 2, Math.round(13 * on.dpr));
    on.tile(panel.x, i, chosen, i, 0);
    if (i < last()) on.tile(panel.x0, i, chosen, i, 1);
  });
  on.frame(at, 0, colour('focus'), at < last() ? 2 : 1);
}

/* The image that the steps began with. */
function drawEdit() {
  const { edit, shape } = state.data;
  begun.hidden = !edit;
  if (!edit) return;
  fit(begun.querySelector('canvas'), shape, 66, 1, 1).tile(edit.image, 0, 0, 0, 0);
  begun.querySelector('span').textContent =
    `Every sample begins at ${subscript(edit.t)} of this image, made by noise of its own.`;
}

/* An image as one of its own: kind x | x0, state i, sample j. */
function tile(key, kind, i, j) {
  const { shape: [, H, W], panels } = state.data, canvas = offscreen(W, H);
  canvas.getContext('2d').drawImage(panels.find(p => p.key === key)[kind], j * W, i * H, W, H, 0, 0, W, H);
  return canvas;
}

const image = (key, j) => tile(key, 'x', last(), j);

/* Its red, green, blue, for tests. */
const pixels = (...of) => {
  const canvas = tile(...of), { width, height } = canvas;
  return [...canvas.getContext('2d').getImageData(0, 0, width, height).data].filter((_, k) => k % 4 < 3);
};

// ---------------------------------------------------------------- input

root.addEventListener('click', e => {
  const { panel } = e.target.dataset, view = state.views.find(v => v.panel.key === panel);
  if (!view) return;
  if (e.target === view.way) return Object.assign(state, { of: panel }), goto(view.way.on.place(e)[0]);
  const [c, r] = view.grids.find(grid => grid.canvas === e.target).on.place(e), j = r * e.target.dataset.columns + c;
  if (j < state.data.n) choose(j, panel);
});

root.addEventListener('click', e => {
  const { act } = e.target.dataset;
  if (act === 'cancel') {
    document.querySelector('#images-cancel')?.click();
    idle();
    say('Cancelled: this is the picture before.');
  }
  if (act === 'away') document.querySelector('#images-away')?.click();
});

root.addEventListener('change', e => {
  if (e.target.name === 'gallery-show') {
    state.show = e.target.value;
    describe();
  }
});
range.addEventListener('input', () => goto(range.valueAsNumber));

listen(document, 'keydown', e => {
  if (!forPage(e) || !takesBack(e) || e.shiftKey) return;
  if (undo()?.disabled === false) obey(e, { [e.key]: () => undo().click() });
});

// ---------------------------------------------------------------- life cycle

letGo(() => clearInterval(state.timer));
onSize(() => { if (state.data && root.clientWidth) { buildScale(state.data); describe(); } }, 560);
onTheme(draw);
root.gallery = {
  state: () => state.data && state.at, goto, choose, run, step, kind, pixels, image, fit, picture, ask, idle,
  await: awaited,
};
const another = () => {
  const keys = drawnKeys(state.data);
  choose(state.chosen, keys[(keys.indexOf(state.of) + 1) % keys.length]);
};
drive({
  ...root.gallery, last, playing: () => !!state.timer, play, pause, panels, choose: way => choose(state.chosen + way),
  others: () => ({ Enter: document.activeElement === panels ? another : null }),
});
watch('value', receive);
receive();
