/* Where a recorded training stands, for training.js. Nothing here knows the page.

A film is the picture `recorded` (ddgan/views/recorded.py): F frames of n samples; `at` is a real-valued frame, and
samples glide in between. cloud int16 (F, n, dim), arrows int16 (F, K, 2 dim), surface uint8 (F, G ...), peak and step
(F), curve (F - 1, 4): losses of D and G, modes, share on a mode; seconds, experiment, T, modes, target. */

const SPEEDS = [0.5, 1, 2, 4];
const LONGEST = 100;          // ms of a film between two pictures, whatever the page did meanwhile

/* The film of an answer, its curve with the seconds of each row as those of a live run. */
function filmOf(answer) {
  const F = answer.step.length, curve = new Float32Array(5 * (F - 1));
  for (let row = 0; row < F - 1; row++) {
    curve[5 * row] = answer.seconds * (row + 1) / (F - 1);
    curve.set(answer.curve.subarray(4 * row, 4 * row + 4), 5 * row + 1);
  }
  const note = `A recorded run of “${answer.experiment}”: ${answer.step.at(-1).toLocaleString('en')} updates, ` +
    `${Math.round(answer.seconds)} s of one core. Start trains with the settings chosen.`;
  return { ...answer, F, curve, note };
}

/* Where a film stands so many milliseconds later. It ends with its last frame. */
function later({ F, seconds }, at, ms, speed) {
  return Math.min(F - 1, at + speed * clamp(ms, 0, LONGEST) * (F - 1) / (1000 * seconds));
}

/* The numbers of a frame, of F in a row: of the two around `at`, in proportion. */
function between(rows, F, at) {
  const size = rows.length / F, k = Math.floor(at), u = at - k, from = k * size;
  return Float32Array.from({ length: size }, (_, i) => {
    const v = rows[from + i];
    return u ? v + u * (rows[from + size + i] - v) : v;
  });
}

/* What a live run's frame would be at this place. */
function shot(film, at) {
  const { F, T, modes, seconds } = film, k = Math.floor(at), cells = film.surface.length / F;
  return {
    run: 'recorded', state: 'recorded', note: film.note, T, modes,
    step: film.step[k], seconds: seconds * k / (F - 1), budget: seconds,
    cloud: between(film.cloud, F, at),
    arrows: between(film.arrows, F, at),
    surface: { peak: film.peak[k], data: film.surface.subarray(k * cells, (k + 1) * cells) },
    curve: film.curve.subarray(0, 5 * k),
  };
}
