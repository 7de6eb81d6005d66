/* The ends of the schedule's curve as handles on the scrubber, for stage.js: at x_T, and at x_1 where that moves too.

Dragged or moved by the arrow keys, a handle asks for the schedule whose signal goes there: `bend(t, a)` shows it, and
says some time later whether it has. One question is on its way at a time; the newest place is asked for next. `rest` is
called when nothing more is to come; a click picks the handle's state, as anywhere on the scrubber. `calm` says
whether the strip must stay in its place. */

const NUDGE = 0.02;                     // signal that an arrow key adds
const STILL = 3;                        // css pixels that a pointer may move in a click
const APART = 30;                       // css pixels between x_1 and x_0 that its handle needs

/* Where a signal stands on a strip of this height, and back: buildScale draws the curve from 4 to 40 of 40. */
const heightOf = signal => (40 - 36 * signal) / 40;
const signalAt = height => clamp((40 - 40 * height) / 36, 0, 1);

/* A handle at each end of the curve. */
const endHandles = strip => ['noise', 'data'].map(end => {
  const handle = make('div', 'stage-end');
  handle.dataset.end = end;
  for (const [name, value] of Object.entries({
    role: 'slider', tabindex: 0, 'aria-valuemin': 0, 'aria-valuemax': 1, 'aria-orientation': 'vertical',
  }))
    handle.setAttribute(name, value);
  strip.append(handle);
  return handle;
});

/* A handle's drags and keys. `drag` says which one is held, where it was grabbed, null once it has moved, and the box
   of the strip; `drop(clicked)` ends it. */
function endMoves(handle, strip, drag, { calm, move, drop }) {
  handle.addEventListener('pointerdown', e => {
    if (e.button) return;
    calm(true);
    Object.assign(drag, { held: handle, from: e.clientY, box: strip.getBoundingClientRect() });
    handle.setPointerCapture(e.pointerId);
    e.preventDefault();
    handle.focus();
  });
  handle.addEventListener('pointermove', e => {
    const { held, from, box } = drag;
    if (from !== null && Math.abs(e.clientY - from) > STILL) drag.from = null;
    if (held === handle && drag.from === null) move(handle, signalAt((e.clientY - box.top) / box.height));
  });
  for (const what of ['pointerup', 'pointercancel'])
    handle.addEventListener(what, () => { if (drag.held === handle) drop(handle, drag.from !== null); });
  handle.addEventListener('keydown', e => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const by = n => () => move(handle, clamp(+handle.dataset.a + n * NUDGE, 0, 1));
    const keys = { ArrowUp: by(1), ArrowRight: by(1), ArrowDown: by(-1), ArrowLeft: by(-1), PageUp: by(5),
      PageDown: by(-5), Home: by(-50), End: by(50) };
    if (obey(e, keys)) e.stopPropagation();       // the scrubber has these keys too
  });
}

const placeEnd = (handle, a) => {
  handle.style.top = `${100 * heightOf(a)}%`;
  handle.dataset.a = a;
  handle.setAttribute('aria-valuenow', a.toFixed(2));
};

function curveEnds(strip, { bend, rest, calm, pick }) {
  const handles = endHandles(strip), drag = { held: null, from: null, box: null };
  let next = null, busy = false;

  const letGo = () => {
    drag.held = null;
    calm(false);
  };
  async function ask() {
    busy = true;
    while (next) {
      const [t, a] = next;
      next = null;
      if (await bend(t, a)) continue;
      next = null;                                     // something else was asked for meanwhile, such as Undo
      letGo();
    }
    busy = false;
    if (!drag.held) rest();
  }
  const move = (handle, a) => {
    placeEnd(handle, a);
    next = [+handle.dataset.t, a];
    if (!busy) ask();
  };
  const drop = (handle, clicked) => {
    letGo();
    if (clicked) pick(+handle.dataset.state);
    else if (!busy) rest();
  };
  for (const handle of handles) endMoves(handle, strip, drag, { calm, move, drop });

  return {
    /* The scrubber stands at this state: its thumb is grabbed beside the dot. */
    at: state => handles.forEach(handle => handle.classList.toggle('here', +handle.dataset.state === state)),
    /* Of a run: its labels t, its signal a, and whether x_1 moves. */
    show({ t, a }, both) {
      const last = t.length - 1;
      handles.forEach((handle, k) => {
        const i = k ? last - 1 : 0, word = `Signal at ${subscript(t[i])}`;
        handle.hidden = k > 0 && !(both && i > 0 && t[i] === 1 && strip.clientWidth > APART * last);
        Object.assign(handle.dataset, { t: t[i], state: i });
        handle.style.left = `calc(var(--thumb) / 2 + ${i / last} * (100% - var(--thumb)))`;
        handle.setAttribute('aria-label', word);
        handle.title = `${word}: drag the schedule up or down (arrow keys)`;
        if (drag.held !== handle && !next) placeEnd(handle, a[i]);
      });
    },
  };
}
