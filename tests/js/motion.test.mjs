import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, near } from './scripts.mjs';

const { timing, played, sought, coordinate, pixel, closest, noised, bars, SEEK_MS, MOST_NATS } = load('motion');

test('a film of few states rests at each, one of many lasts about seven seconds, and both end at x_0', () => {
  assert.ok(timing(5).dwell > 0 && timing(9).dwell > 0 && timing(10).dwell === 0);
  assert.ok(near(timing(65).cycle * 64, 7000));
  for (const F of [2, 5, 9, 10, 65, 1001]) {
    const { cycle } = timing(F);
    assert.equal(played(F, 0), 0);
    for (let k = 0; k < F; k++) assert.ok(near(played(F, k * cycle + 1e-9), Math.min(k, F - 1), 1e-6));
    assert.equal(played(F, 10 * F * cycle), F - 1);
  }
});

test('a film never goes back, and one that stands still shows whole states alone', () => {
  for (const F of [5, 33]) {
    const times = Array.from({ length: 500 }, (_, i) => i * timing(F).cycle * F / 500);
    times.slice(1).forEach((time, i) => assert.ok(played(F, time) >= played(F, times[i])));
    assert.ok(times.every(time => Number.isInteger(played(F, time, true))));
  }
});

test('a glide begins where it was, ends where it should, in both directions and without overshoot', () => {
  for (const [from, to] of [[0, 3], [2.5, 1]]) {
    assert.equal(sought({ from, to, elapsed: 0 }), from);
    assert.equal(sought({ from, to, elapsed: 2 * SEEK_MS }), to);
    const at = sought({ from, to, elapsed: SEEK_MS / 2 });
    assert.ok(Math.abs(at - from) > Math.abs(to - at) && (at - from) * (to - at) > 0);
  }
});

// two samples at three states, int16 of a hundredth
const RUN = { F: 3, n: 2, dim: 2, scale: 0.01, limit: 2 };
const X = Int16Array.from([0, 0, 100, 50, 100, -100, 100, 50, 200, -200, -200, 50]);

test('a coordinate is that of the state at whole states, and linear in between', () => {
  assert.ok(near(coordinate(RUN, X, 1, 0, 1), -1) && near(coordinate(RUN, X, 2, 1, 0), -2));
  assert.ok(near(coordinate(RUN, X, 0.5, 0, 0), 0.5) && near(coordinate(RUN, X, 1.25, 1, 0), 0.25));
});

test('the middle of the view is the origin, its edges are the limit, and y points up', () => {
  const view = { w: 400, h: 400 };
  assert.deepEqual(pixel(RUN, view, X, 0, 0), [200, 200]);
  assert.deepEqual(pixel(RUN, view, X, 2, 0).map(Math.round), [400, 400]);
  assert.deepEqual(pixel(RUN, view, X, 0, 1).map(Math.round), [300, 150]);
  const line = { ...RUN, dim: 1, n: 4 };
  const [, first] = pixel(line, view, X, 0, 0), [, last] = pixel(line, view, X, 2, 0);
  assert.ok(first === 390 && last < first, 'in 1-D time runs upwards');
});

test('a click takes the nearest sample within reach, or none', () => {
  const places = [[10, 10], [20, 10], [90, 90]];
  assert.equal(closest(3, j => places[j], [17, 10], 28), 1);
  assert.equal(closest(3, j => places[j], [50, 50], 28), null);
  assert.equal(closest(3, j => places[j], [38, 10], 18), null, 'reach ends before the radius');
});

test('bars stand where their step leaves, and end at the most that is shown', () => {
  const found = bars([[4, 1], [2, MOST_NATS / 2], [1, 2 * MOST_NATS]], [0, 2, 3], 4);
  assert.deepEqual(found.map(bar => bar.x), [0, 50, 75]);
  assert.deepEqual(found.map(bar => bar.high), [40 / MOST_NATS, 20, 40]);
  assert.ok(found.every(bar => bar.x + bar.wide <= 100));
});

test('noise is added with one noise, from the data to the given x_T, as much as each level says', () => {
  const run = { F: 3, a: [0.1, 0.6, 1], sigma: [Math.sqrt(0.99), 0.8, 0] }, x_T = [500, -900], x_0 = [1000, 300];
  const states = noised(run, x_T, x_0), e = x_T.map((v, k) => (v - 0.1 * x_0[k]) / Math.sqrt(0.99));
  assert.deepEqual([...states], [...x_T, ...x_0.map((v, k) => Math.round(0.6 * v + 0.8 * e[k])), ...x_0]);
});
