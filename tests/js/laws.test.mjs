import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, near } from './scripts.mjs';

const { reverse, marginal, density, best, gap, bumps, meanGap, sum } = load('laws');
const alpha_bar = [1, 0.8, 0.5, 0.2, 0.05];
const LINE = { alpha_bar, mu: [-1, 0.5], var: [0.04, 0.09], log_w: [Math.log(0.3), Math.log(0.7)] };
const ONE = { alpha_bar, mu: [0.4], var: [0.25], log_w: [0] };

/* The integral of f over a line that holds all the mass. */
const integral = f => sum(Array.from({ length: 8000 }, (_, i) => f((i + 0.5) / 500 - 8) / 500));

test('a law of one Gaussian has the reverse of the conjugate Gaussian', () => {
  for (const [s, t, x] of [[0, 1, 0.3], [1, 3, -1], [2, 4, 2]]) {
    const { w, m, v } = reverse(ONE, s, t, x), A = alpha_bar[s], r = Math.sqrt(alpha_bar[t] / A);
    const prior = A * 0.25 + 1 - A, noise = 1 - r * r;
    const precision = 1 / prior + r * r / noise;
    assert.ok(near(w[0], 1) && near(v[0], 1 / precision));
    assert.ok(near(m[0], (Math.sqrt(A) * 0.4 / prior + r * x / noise) / precision));
  }
});

test('reverse and marginal obey Bayes: q(x_s | x_t) q(x_t) = q(x_t | x_s) q(x_s)', () => {
  for (const [s, t, x_s, x_t] of [[0, 2, -0.9, 0.1], [1, 3, 0.6, -0.4], [2, 4, 1.5, 1]]) {
    const r = Math.sqrt(alpha_bar[t] / alpha_bar[s]), forward = { w: [1], m: [r * x_s], v: [1 - r * r] };
    const left = density(reverse(LINE, s, t, x_t), x_s) * density(marginal(LINE, t), x_t);
    assert.ok(near(left, density(forward, x_t) * density(marginal(LINE, s), x_s), 1e-10));
  }
});

test('a density has mass 1, and its best Gaussian has its mean and variance', () => {
  const q = reverse(LINE, 0, 3, 0.2), { m, v } = best(q), p = x => density(q, x);
  assert.ok(near(integral(p), 1, 1e-9));
  assert.ok(near(integral(x => x * p(x)), m[0], 1e-9));
  assert.ok(near(integral(x => (x - m[0]) ** 2 * p(x)), v[0], 1e-9));
});

test('the gap is the KL from q to its best Gaussian, and 0 for a Gaussian', () => {
  const z = Array.from({ length: 2000 }, (_, i) => (i + 0.5) / 125 - 8);
  const nodes = { z, weight: z.map(e => Math.exp(-e * e / 2) / Math.sqrt(2 * Math.PI) / 125) };
  const q = reverse(LINE, 0, 3, 0.2), g = best(q);
  const kl = integral(x => density(q, x) && density(q, x) * Math.log(density(q, x) / density(g, x)));
  assert.ok(kl > 0.1 && near(gap(nodes, q), kl, 1e-6));
  assert.ok(Math.abs(gap(nodes, reverse(ONE, 0, 3, 0.2))) < 1e-9);
});

test('bumps are counted if they are a hundredth as high as the highest', () => {
  assert.equal(bumps([0, 1, 0, 0.5, 0]), 2);
  assert.equal(bumps([0, 1, 0, 0.009, 0]), 1);
  assert.equal(bumps([1, 0, 1]), 2);
});

test('the map of mean gaps is exact at its nodes, and in between linear in the roots of the levels', () => {
  const level = [0, 1, 4], cell = [0, 1, 1, 1, 1], map = { level, cell, gap: [0, 1, 2, 3, 4, 5, 6, 7, 8] };
  assert.equal(meanGap(map, 1, 0), 1);
  assert.equal(meanGap(map, 1, 1), 4);
  assert.ok(near(meanGap(map, 2.25, 1), 4.5));
});
