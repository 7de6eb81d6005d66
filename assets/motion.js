/* Where a run stands in time, and where its samples are on the page, for stage.js. Nothing here knows the page.

A run is {F states, n samples, dim, scale, limit}: a buffer of int16 (F, n, dim) times scale is in data units. `at` is a
real-valued state: 0 is x_T, F - 1 is x_0, and points glide in between. */

const SEEK_MS = 280; // glide to the nearest state after a drag, or one step by button
const MOST_NATS = 5;          // where the bars behind the scrubber end

/* Milliseconds of a move between two states, of the rest before it, and how a move begins and ends: a few large steps
   deserve a pause at every state; many small ones are one film of about seven seconds. */
function timing(F) {
  const few = F <= 9, move = few ? 650 : clamp(7000 / (F - 1), 40, 500), dwell = few ? 450 : 0;
  return { move, dwell, cycle: move + dwell, ease: few ? u => u * u * (3 - 2 * u) : u => u };
}

/* Where a film stands after so many milliseconds; `still`: it jumps from state to state. */
function played(F, elapsed, still = false) {
  const { move, dwell, cycle, ease } = timing(F), k = Math.floor(elapsed / cycle), moved = elapsed - k * cycle - dwell;
  return Math.min(F - 1, k + (moved > 0 && !still ? ease(moved / move) : 0));
}

/* Where a glide stands: fast at first, then slower, there after SEEK_MS. */
function sought({ from, to, elapsed }) {
  const u = clamp(elapsed / SEEK_MS, 0, 1);
  return from + (to - from) * u * (2 - u);
}

/* Coordinate c of sample j at the real-valued state `at`, in data units. */
function coordinate({ n, dim, scale, F }, buffer, at, j, c) {
  const i = Math.floor(at), f = at - i, row = n * dim, k = j * dim + c, a = buffer[i * row + k];
  return scale * (f ? a + (buffer[Math.min(i + 1, F - 1) * row + k] - a) * f : a);
}

/* Pixel (css) of sample j in a view of w x h: in 1-D the second axis is time, in the strip below the histogram. */
function pixel(run, { w, h }, buffer, at, j, time = at) {
  const unit = w / (2 * run.limit), x = w / 2 + unit * coordinate(run, buffer, at, j, 0);
  if (run.dim === 2) return [x, h / 2 - unit * coordinate(run, buffer, at, j, 1)];
  return [x, h - 10 - (h * 0.36 - 20) * time / (run.F - 1)];
}

/* The states of x_0 as noise is added, the same noise at every level: x_t = a_t x_0 + sigma_t e, such that all end at
   the given x_T. Buffers of int16, x_T and x_0 of one state each. */
function noised({ F, a, sigma }, x_T, x_0) {
  const row = x_0.length, states = new Int16Array(F * row);
  for (let k = 0; k < row; k++) {
    const e = (x_T[k] - a[0] * x_0[k]) / sigma[0];
    for (let i = 0; i < F; i++) states[i * row + k] = clamp(Math.round(a[i] * x_0[k] + sigma[i] * e), -32767, 32767);
  }
  return states;
}

/* Which of n places is nearest to a pixel, less than `radius` away; null for none. */
function closest(n, placeOf, [px, py], radius) {
  let best = null, least = radius ** 2;
  for (let j = 0; j < n; j++) {
    const [x, y] = placeOf(j), d = (x - px) ** 2 + (y - py) ** 2;
    if (d < least) { least = d; best = j; }
  }
  return best;
}

/* A bar a step behind the scrubber, in a picture of 100 x 40: steps [t, nats], the states that they leave,
   the last state. */
function bars(steps, leaves, last) {
  const wide = Math.max(1, last / Math.max(1, steps.length));
  return steps.map(([, nats], k) => ({
    x: 100 * leaves[k] / last,
    wide: 96 * Math.min(wide, last - leaves[k]) / last,
    high: 40 * Math.min(1, nats / MOST_NATS),
  }));
}
