import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, near } from './scripts.mjs';

const { filmOf, later, between, shot, LONGEST } = load('replay');

// three frames of two samples on a plane, one arrow, a surface of four cells
const FILM = filmOf({
  experiment: 'one', T: 4, modes: 25, seconds: 10,
  step: Float64Array.from([0, 50, 100]),
  cloud: Int16Array.from([0, 0, 10, 20, 4, -4, 10, 20, 8, -8, -10, 20]),
  arrows: Int16Array.from([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
  surface: Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
  peak: Float64Array.from([1, 2, 5]),
  curve: Float64Array.from([1.5, 0.5, 3, 0.25, 1.25, 0.75, 25, 0.5]),
});

test('a film takes its seconds at speed 1, half of them at 2, and ends with its last frame', () => {
  for (const [speed, seconds] of [[0.5, 20], [1, 10], [4, 2.5]]) {
    let at = 0, ms = 0;
    for (; at < FILM.F - 1; ms += 10) at = later(FILM, at, 10, speed);
    assert.ok(Math.abs(ms - 1000 * seconds) <= 10 && at === FILM.F - 1);
  }
  assert.equal(later(FILM, 0, -5, 1), 0, 'a picture may be of before the button was pressed');
  assert.equal(later(FILM, 0, 60_000, 1), later(FILM, 0, LONGEST, 1), 'a page that slept plays on where it was');
});

test('samples are those of the frame at whole frames, and in between on the way', () => {
  assert.deepEqual([...between(FILM.cloud, 3, 1)], [4, -4, 10, 20]);
  assert.deepEqual([...between(FILM.cloud, 3, 1.5)], [6, -6, 0, 20]);
  assert.deepEqual([...between(FILM.cloud, 3, 2)], [8, -8, -10, 20]);
});

test('a shot is what a live frame is: the curve so far, with its seconds, and the surface of the frame before', () => {
  const first = shot(FILM, 0), middle = shot(FILM, 1.9), last = shot(FILM, 2);
  assert.deepEqual([first.step, middle.step, last.step], [0, 50, 100]);
  assert.deepEqual([first.curve.length, middle.curve.length, last.curve.length], [0, 5, 10]);
  assert.deepEqual([...last.curve], [5, 1.5, 0.5, 3, 0.25, 10, 1.25, 0.75, 25, 0.5]);
  assert.deepEqual([...middle.surface.data], [5, 6, 7, 8]);
  assert.ok(middle.surface.peak === 2 && last.seconds === last.budget && near(middle.seconds, 5));
  assert.deepEqual([...last.arrows], [4, 4, 5, 5]);
  assert.ok(last.note.includes('“one”: 100 updates, 10 s of one core'));
});
