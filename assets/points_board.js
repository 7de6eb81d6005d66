/* A board to draw points on, by mouse, finger or keyboard. Plain canvas, no library.

Gradio runs it after common.js, for ddgan/ui/own_data.py. Nothing is sent while one draws:
the page's own buttons read .draw.board = {points, show}. points() are at most LIMIT pairs of numbers, as the law is to
be (it is standardised there); show(name) draws what a data name "points:..." holds (ddgan/data/points.py), which is
also how a link that has such data fills the board. .draw has data-ready and data-count. */

const RANGE = 3;              // half the width of the board
const LIMIT = 1000;           // points
const GAP = 0.05;             // along a stroke, from one point to the next
const RUBBER = 0.22;          // radius of the eraser
const STEP = 0.1;             // of an arrow key
const UNDO = 50;

const state = {
  points: [], past: [],       // what can be undone: earlier lists of points
  tool: 'brush', spread: 0.08,
  stroke: null,               // null | {last: [x, y], way: since the last point, moved}
  pointer: null, cursor: null,  // where the mouse, where the keyboard is, in board units
};

root.innerHTML = `
  <div class="draw-board"><canvas tabindex="0" role="application"
    aria-label="Drawing board. Arrow keys move a cursor, space sets a point, delete erases, control Z undoes."></canvas>
    <p class="draw-hint" aria-hidden="true">Draw here</p></div>
  <div class="draw-side">
    <p class="draw-count" role="status"></p>
    <div class="draw-group" role="radiogroup" aria-label="Tool">
      <label class="draw-chip"><input type="radio" name="draw-tool" value="brush" checked>Brush</label>
      <label class="draw-chip"><input type="radio" name="draw-tool" value="eraser">Eraser</label>
    </div>
    <label class="draw-spread"><span>Spread of the brush</span><input type="range" min="0" max="0.6" step="0.01"
      value="${state.spread}"></label>
    <div class="draw-group" role="group" aria-label="Corrections">
      <button type="button" data-act="undo">Undo</button><button type="button" data-act="clear">Clear</button>
    </div>
    <div class="draw-group" role="group" aria-label="Examples"><span>Or start from</span>
      <button type="button" data-example="smiley">a smiley</button>
      <button type="button" data-example="spiral">a spiral</button>
      <button type="button" data-example="heart">a heart</button>
    </div>
    <p class="draw-help">Drag to scatter points, click for a single one. By keyboard: arrow keys, space, delete.</p>
  </div>
  <p class="stage-sr" aria-live="polite"></p>`;

const canvas = $('canvas'), live = $('.stage-sr');

// ---------------------------------------------------------------- points

function change(points) {
  state.past.push(state.points);
  state.past.splice(0, state.past.length - UNDO);
  update(points);
}

function update(points) {
  state.points = points.slice(0, LIMIT);
  const n = state.points.length;
  root.dataset.count = n;
  $('.draw-count').textContent = n === 1 ? '1 point' : `${n} points${n === LIMIT ? ', the most there can be' : ''}`;
  $('.draw-hint').hidden = n > 0;
  $('[data-act=undo]').disabled = !state.past.length;
  $('[data-act=clear]').disabled = !n;
  invalidate();
}

function add([x, y]) {
  if (Math.abs(x) <= RANGE && Math.abs(y) <= RANGE) update([...state.points, [x, y]]);
}

function scatter([x, y]) {
  const r = state.spread * Math.sqrt(-2 * Math.log(1 - Math.random())), angle = 2 * Math.PI * Math.random();
  add([x + r * Math.cos(angle), y + r * Math.sin(angle)]);
}

function erase([x, y]) {
  const left = state.points.filter(p => Math.hypot(p[0] - x, p[1] - y) > RUBBER);
  if (left.length < state.points.length) update(left);
}

function undo() {
  if (state.past.length) update(state.past.pop());
}

/* A fixed cloud of n points along a curve of u in 0..1. */
function along(n, curve, spread) {
  let seed = 7;
  const next = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  return Array.from({ length: n }, (_, i) => {
    const [x, y] = curve((i + 0.5) / n),
      r = spread * Math.min(2.2, Math.sqrt(-2 * Math.log(next()))),
      angle = 2 * Math.PI * next();
    return [x + r * Math.cos(angle), y + r * Math.sin(angle)];
  });
}

const arc = (x, y, r, from, to) => u => [
  x + r * Math.cos(from + (to - from) * u),
  y + r * Math.sin(from + (to - from) * u),
];
const EXAMPLES = {
  smiley: () => [
    ...along(220, arc(0, 0, 2.2, 0, 2 * Math.PI), 0.06),
    ...along(40, arc(-0.75, 0.7, 0.12, 0, 2 * Math.PI), 0.08),
    ...along(40, arc(0.75, 0.7, 0.12, 0, 2 * Math.PI), 0.08),
    ...along(90, arc(0, 0, 1.25, 1.15 * Math.PI, 1.85 * Math.PI), 0.06),
  ],
  spiral: () => along(320, u => {
    const r = Math.sqrt(0.03 + 0.97 * u);
    return arc(0, 0, 2.3 * r, 0, 5 * Math.PI)(r);
  }, 0.06),
  heart: () => along(300, u => {
    const a = 2 * Math.PI * u;
    const y = 13 * Math.cos(a) - 5 * Math.cos(2 * a) - 2 * Math.cos(3 * a) - Math.cos(4 * a);
    return [2.3 * Math.sin(a) ** 3, 0.144 * y + 0.3];
  }, 0.06),
};

/* The points of a data name, as large as the board allows; null where it is none. */
function decode(name) {
  if (!name?.startsWith('points:')) return null;
  try {
    const [packed, axes] = name.slice(7).split('.');
    if (axes && JSON.parse(atob(axes.replaceAll('-', '+').replaceAll('_', '/'))).length === 1) return null; // on a line
    const bytes = new DataView(unpack(packed.replaceAll('-', '+').replaceAll('_', '/'), Uint8Array).buffer);
    const whole = Array.from({ length: bytes.byteLength / 4 }, (_, i) =>
      [0, 2].map(c => bytes.getUint16(4 * i + c, true) / 32767.5 - 1),
    );
    const far = Math.max(...whole.flat().map(Math.abs));
    return whole.map(p => p.map(v => 0.9 * RANGE * v / far));
  } catch {
    return null;              // the page says what is wrong with a link
  }
}

function show(name) {
  const points = decode(name);
  if (points) change(points);
}

// ---------------------------------------------------------------- drawing

const invalidate = inFrame(draw);

function draw() {
  if (!root.isConnected) return dispose();
  if (!canvas.clientWidth) return;
  const { ctx, w, h } = blank(canvas), colour = colours(), unit = w / (2 * RANGE);
  const place = ([x, y]) => [w / 2 * (1 + x / RANGE), h / 2 * (1 - y / RANGE)];
  ctx.strokeStyle = colour('grid');
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (let k = 1 - RANGE; k < RANGE; k++) {
    const [x, y] = place([k, k]).map(v => Math.round(v) + 0.5);
    ctx.moveTo(x, 0); ctx.lineTo(x, h);
    ctx.moveTo(0, y); ctx.lineTo(w, y);
  }
  ctx.stroke();
  ctx.fillStyle = colour('sample');
  ctx.globalAlpha = 0.75;
  for (const p of state.points) {
    ctx.beginPath();
    ctx.arc(...place(p), 2.4, 0, 7);
    ctx.fill();
  }
  ctx.globalAlpha = 1;
  ctx.strokeStyle = colour('ink');
  const here = state.cursor ?? state.pointer;
  if (!here) return;
  const [x, y] = place(here), reach = unit * (state.tool === 'eraser' ? RUBBER : 2 * state.spread);
  ctx.setLineDash(state.tool === 'eraser' ? [] : [3, 3]);
  ctx.beginPath();
  ctx.arc(x, y, Math.max(reach, 3), 0, 7);
  ctx.stroke();
  ctx.setLineDash([]);
  if (state.cursor) cross(ctx, [x, y], 9, colour('ink'), 1);
}

// ---------------------------------------------------------------- input

const at = event => inPlane(canvas, event, RANGE);

function moveTo(to) {
  const { stroke } = state, [x, y] = stroke.last, way = Math.hypot(to[0] - x, to[1] - y);
  if (state.tool === 'eraser') erase(to);
  else for (let d = GAP - stroke.way; d <= way; d += GAP) {
    stroke.moved = true;
    scatter([x + (to[0] - x) * d / way, y + (to[1] - y) * d / way]);
  }
  stroke.way = (stroke.way + way) % GAP;
  stroke.last = to;
}

canvas.addEventListener('pointerdown', e => {
  if (e.button || state.stroke) return;
  canvas.setPointerCapture(e.pointerId);
  change(state.points);
  state.cursor = null;
  state.pointer = at(e);
  state.stroke = { last: at(e), way: 0, moved: false, pen: e.pointerId };
  if (state.tool === 'eraser') erase(at(e));
});

canvas.addEventListener('pointermove', e => {
  state.pointer = at(e);
  if (state.stroke?.pen === e.pointerId) for (const event of e.getCoalescedEvents?.() ?? [e]) moveTo(at(event));
  invalidate();
});

function lift(e) {
  const { stroke } = state;
  if (stroke?.pen !== e.pointerId) return;
  state.stroke = null;
  if (!stroke.moved && state.tool === 'brush') add(stroke.last);
  if (state.past.at(-1) === state.points) { state.past.pop(); update(state.points); }     // nothing was changed
}

canvas.addEventListener('pointerup', lift);
canvas.addEventListener('pointercancel', lift);
canvas.addEventListener('pointerleave', () => { state.pointer = null; invalidate(); });
canvas.addEventListener('blur', () => { state.cursor = null; invalidate(); });

canvas.addEventListener('keydown', e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const step = e.shiftKey ? STEP / 5 : STEP, here = state.cursor ?? [0, 0];
  const move = (dx, dy) => () => {
    if (state.cursor) state.cursor = [here[0] + dx, here[1] + dy].map(v => clamp(v, -RANGE, RANGE));
    else state.cursor = here;                             // the first key only shows where the cursor is
    live.textContent = state.cursor.map(v => v.toFixed(2)).join(', ');
  };
  const rub = () => {
    state.past.push(state.points);
    erase(here);
    if (state.past.at(-1) === state.points) state.past.pop();
    update(state.points);
  };
  const set = () => { state.cursor = here; change([...state.points, here]); };
  const act = state.tool === 'eraser' ? rub : set;
  const keys = {
    ArrowLeft: move(-step, 0), ArrowRight: move(step, 0), ArrowUp: move(0, step), ArrowDown: move(0, -step),
    ' ': act, Enter: act, Delete: rub, Backspace: rub,
  };
  if (obey(e, keys)) invalidate();
});

/* Of every part of the board, or the stage would take back something of its own. */
root.addEventListener('keydown', e => {
  if (takesBack(e)) { e.preventDefault(); undo(); }
});

root.addEventListener('click', e => {
  const { act, example } = e.target.closest('button')?.dataset ?? {};
  if (act === 'undo') undo();
  if (act === 'clear') change([]);
  if (example) change(EXAMPLES[example]());
});

root.addEventListener('input', e => {
  if (e.target.type === 'range') state.spread = e.target.valueAsNumber;
  if (e.target.type === 'radio') state.tool = e.target.value;
  invalidate();
});

// ---------------------------------------------------------------- life cycle

onSize(invalidate).observe(canvas);
onTheme(invalidate);
root.board = { points: () => state.points.map(p => p.map(v => +v.toFixed(4))), show };
update(decode(new URLSearchParams(location.search).get('data')) ?? []);
root.dataset.ready = '1';
