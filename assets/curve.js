/* The ends of the schedule's curve as handles on the scrubber, for stage.js: at x_T, and at x_1 where that moves too.

Dragged or moved by the arrow keys, a handle asks for the schedule whose signal goes there: `bend(t, a)` shows it and
says, some time later, that it has. One question is on its way at a time; the newest place is asked for next. `rest` is
called when nothing more is to come. */

const NUDGE = 0.02;                     // signal that an arrow key adds

/* Where a signal stands on a strip of this height, and back: buildScale draws the curve from 4 to 40 of 40. */
const heightOf = signal => (40 - 36 * signal) / 40;
const signalAt = height => clamp((40 - 40 * height) / 36, 0, 1);

function curveEnds(strip, { bend, rest }) {
  const handles = ['noise', 'data'].map(end => {
    const handle = make('div', 'stage-end');
    handle.dataset.end = end;
    for (const [name, value] of Object.entries({ role: 'slider', tabindex: 0, 'aria-valuemin': 0, 'aria-valuemax': 1 }))
      handle.setAttribute(name, value);
    strip.append(handle);
    return handle;
  });
  let held = null, box = null, next = null, busy = false;

  const place = (handle, a) => {
    handle.style.top = `${100 * heightOf(a)}%`;
    handle.setAttribute('aria-valuenow', a.toFixed(2));
  };
  async function ask() {
    busy = true;
    while (next) {
      const [t, a] = next;
      next = null;
      await bend(t, a);
    }
    busy = false;
    if (!held) rest();
  }
  const move = (handle, a) => {
    place(handle, a);
    next = [+handle.dataset.t, a];
    if (!busy) ask();
  };

  for (const handle of handles) {
    handle.addEventListener('pointerdown', e => {
      held = handle;
      box = strip.getBoundingClientRect();        // a sentence that comes meanwhile moves the strip, not the hand
      handle.setPointerCapture(e.pointerId);
      e.preventDefault();
      handle.focus();
    });
    handle.addEventListener('pointermove', e => {
      if (held === handle) move(handle, signalAt((e.clientY - box.top) / box.height));
    });
    for (const what of ['pointerup', 'pointercancel'])
      handle.addEventListener(what, () => {
        if (held !== handle) return;
        held = null;
        if (!busy) rest();
      });
    handle.addEventListener('keydown', e => {
      const by = { ArrowUp: NUDGE, ArrowDown: -NUDGE }[e.key];
      if (by) obey(e, { [e.key]: () => move(handle, clamp(+handle.getAttribute('aria-valuenow') + by, 0, 1)) });
    });
  }

  return {
    /* Of a run: its labels t, its signal a, and whether x_1 moves. */
    show({ t, a }, both) {
      const last = t.length - 1;
      handles.forEach((handle, k) => {
        const i = k ? last - 1 : 0, word = `Signal at ${subscript(t[i])}`;
        handle.hidden = k > 0 && !(both && i > 0 && t[i] === 1);
        handle.dataset.t = t[i];
        handle.style.left = `calc(var(--thumb) / 2 + ${i / last} * (100% - var(--thumb)))`;
        handle.setAttribute('aria-label', word);
        handle.title = `${word}: drag the schedule up or down (arrow keys)`;
        if (held !== handle && !next) place(handle, a[i]);
      });
    },
  };
}
