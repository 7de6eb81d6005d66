/* The laws of a 1-D mixture under diffusion, for why.js: as in ddgan/diffusion/mixture.py and gaussianity.py.

A law is {alpha_bar (N + 1), mu, var, log_w}, and for gaps {z, weight}: nodes and weights of a mean over N(0, 1). A
mixture is {w, m, v}: weights, means, variances. Nothing here knows the page. */

/* q(x_s | x_t) = sum_k w_k N(m_k, v_k) for levels s < t. */
function reverse(law, s, t, x) {
  const { alpha_bar, mu, var: S, log_w } = law, A = alpha_bar[s], B = alpha_bar[t];
  const noisy = S.map(v => B * v + 1 - B), r = Math.sqrt(B / A);
  const away = mu.map(m => x - Math.sqrt(B) * m), gain = S.map((v, k) => r * (A * v + 1 - A) / noisy[k]);
  const logs = log_w.map((l, k) => l - (away[k] ** 2 / noisy[k] + Math.log(noisy[k])) / 2), most = Math.max(...logs);
  const w = logs.map(l => Math.exp(l - most)), total = sum(w);
  return {
    w: w.map(v => v / total),
    m: mu.map((m, k) => Math.sqrt(A) * m + gain[k] * away[k]),
    v: gain.map(g => ((1 - r * r) * g) / r),
  };
}

/* q(x_t). */
const marginal = (law, t) => {
  const { alpha_bar, mu, var: S, log_w } = law, A = alpha_bar[t];
  return { w: log_w.map(Math.exp), m: mu.map(m => Math.sqrt(A) * m), v: S.map(v => A * v + 1 - A) };
};

/* The density of a mixture at x. */
function density({ w, m, v }, x) {
  let p = 0;
  for (let k = 0; k < w.length; k++)
    p += (w[k] * Math.exp(-((x - m[k]) ** 2) / (2 * v[k]))) / Math.sqrt(2 * Math.PI * v[k]);
  return p;
}

/* The Gaussian of q's own mean and variance, as a mixture of one. */
function best({ w, m, v }) {
  const mean = sum(w.map((u, k) => u * m[k]));
  return { w: [1], m: [mean], v: [sum(w.map((u, k) => u * (v[k] + (m[k] - mean) ** 2)))] };
}

/* KL(q || best Gaussian) = log(2 pi e Var[q]) / 2 - H[q]. */
function gap({ z, weight }, q) {
  const entropy = -sum(
    q.w.map((u, k) => u && u * sum(z.map((e, j) => weight[j] * Math.log(density(q, q.m[k] + Math.sqrt(q.v[k]) * e))))),
  );
  return Math.log(2 * Math.PI * Math.E * best(q).v[0]) / 2 - entropy;
}

/* Bumps of a curve that are at least a hundredth as high as the highest. */
function bumps(p) {
  const high = Math.max(...p) / 100;
  return p.reduce((n, v, i) => n + (v > high && v > (p[i - 1] ?? 0) && v >= (p[i + 1] ?? 0)), 0);
}

/* The map of mean gaps {level, gap, cell} between its cells, which are evenly spread in sqrt(t) and sqrt(s). */
function meanGap({ level, gap: g, cell }, t, s) {
  const n = level.length;
  const [i, j] = [s, t].map(v => cell[Math.floor(v)]),
    [u, v] = [
      [s, i],
      [t, j],
    ].map(([v, k]) => (Math.sqrt(v) - Math.sqrt(level[k])) / (Math.sqrt(level[k + 1]) - Math.sqrt(level[k])));
  const k = i * n + j;
  return (g[k] * (1 - v) + g[k + 1] * v) * (1 - u) + (g[k + n] * (1 - v) + g[k + n + 1] * v) * u;
}
