/* One panel of the stage: what of its samples, densities and ways is drawn on its canvas, in the colours of the page.

ddgan/ui/canvas.py puts it before stage.js, which has the `state` that is read here, after common.js and motion.js. A
view is {panel, canvas, ctx, w, h, dpr}: what it shows, and its size in css pixels. */

function readTheme() {
  const colour = colours(), { data, views } = state, w = Math.max(...views.map(v => v.w)), dpr = views[0]?.dpr || 1;
  const big = whole.hasAttribute(PRESENT) ? 1.6 : 1,
    radius = big * clamp(w / 230 * Math.sqrt(2000 / data.n), 0.9, 3.2) * dpr;
  const ground = packed(colour('plot')), density = packed(colour('density')), peak = 256 * colour('density-peak');
  const theme = {
    ...themeOf('sample', 'x0', 'ink', 'focus', 'paper', 'line', 'density'),
    ground: over(ground, 256, 0),
    // Half smooth, half in bands: the bands read as contour lines without their clutter.
    bands: Float64Array.from({ length: 256 }, (_, v) => peak * (0.55 * v / 255 + 0.45 * Math.floor(v / 255 * 7) / 7)),
    shades: Int32Array.from({ length: 257 }, (_, opacity) => over(density, opacity, ground)),
  };
  theme.dots = {
    sample: dot(theme.sample, radius, +colour('sample-alpha')),
    x0: dot(theme.x0, radius * 0.85, +colour('x0-alpha')),
  };
  state.field.key = null;
  return theme;
}

const packed = hex => rgb(hex).reduceRight((bits, v) => bits << 8 | v);

/* A disc for drawPoints: its colour, and the opacities of the square around it. */
function dot(colour, radius, alpha) {
  const size = 2 * Math.ceil(radius - 0.5) + 1, ctx = offscreen(size, size).getContext('2d');
  ctx.arc(size / 2, size / 2, radius, 0, 7);
  ctx.fill();
  const covered = ctx.getImageData(0, 0, size, size).data.filter((_, i) => i % 4 === 3);
  return { size, rgb: packed(colour), opacities: Array.from(covered, v => 256 * alpha * v / 255) };
}

/* Offsets of the states before and after `at` in an array with `row` entries a state, and how far we are between. */
function around(row) {
  const i = Math.floor(state.at);
  return [i * row, Math.min(i + 1, lastState()) * row, state.at - i];
}

/* The samples that a panel shows: its own, or, while noise is added, the data. */
const xOf = view => state.forward ?? view.panel.x;
const shows = name => state.layers[name] && !(state.forward && ['x0', 'field'].includes(name));
const read = (buffer, at, j, c) => coordinate(state.data, buffer, at, j, c);
const pointOf = (buffer, at, j) => Array.from({ length: state.data.dim }, (_, c) => read(buffer, at, j, c));
const place = (view, buffer, at, j, time = at) => pixel(state.data, view, buffer, at, j, time);

/* How much of a predicted x_0 is seen: nothing at x_0, where it is the sample itself. */
const ahead = () => Math.min(1, lastState() - state.at);

function draw(view) {
  const { ctx, panel, w, h, dpr } = view, { data } = state;
  ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
  ctx.clearRect(0, 0, w, h);
  if (panel.error || !w) return;
  if (data.dim === 2) {
    drawPoints(view);
  } else {
    drawHistogram(view);
  }
  drawScales(view, data.axes, data.limit, state.theme, data.dim === 1 ? h * 0.64 : null);
  if (shows('field')) drawField(view);
  if (shows('x0')) for (const j of data.followed) drawLink(view, j);
  if (shows('paths')) for (const j of data.followed) drawPath(view, j, state.theme.ink, 1, 0.85);
  if (focused() !== null) drawFocus(view, focused());
}

/* The density between two states, as large as a panel. Panels are of one size: it is made once. */
function densityPixels(W, H) {
  const { field, theme, data, at } = state, G = data.density.size, key = `${at} ${W} ${H}`, shape = `${G} ${W} ${H}`;
  if (field.key === key) return field.pixels;
  if (field.shape !== shape)
    Object.assign(field, { shape, small: new Float64Array(G * G), pixels: new Int32Array(W * H),
      across: spread(G, W), down: spread(G, H) });
  const source = data.density.data, [a, b, f] = around(G * G), { small, across, down, pixels } = field;
  for (let k = 0; k < small.length; k++)
    small[k] = theme.bands[(source[a + k] + (source[b + k] - source[a + k]) * f) | 0];
  enlarge(small, G, across, down, theme.shades, pixels);
  field.key = key;
  return pixels;
}

/* Density and points of a panel, put together by hand: many times faster than one canvas call a point. */
function drawPoints(view) {
  const { layer, theme: { dots, ground, line: edge } } = state, { canvas: { width: W, height: H }, ctx, w, h } = view;
  if (layer.image?.width !== W || layer.image.height !== H) {
    layer.image = new ImageData(W, H);
    layer.pixels = new Int32Array(layer.image.data.buffer);
  }
  if (shows('density')) layer.pixels.set(densityPixels(W, H)); else layer.pixels.fill(ground);
  if (shows('samples')) strew(layer.pixels, view, xOf(view), dots.sample, 1);
  if (shows('x0')) strew(layer.pixels, view, view.panel.x0, dots.x0, ahead());
  ctx.putImageData(layer.image, 0, 0);
  ctx.beginPath();
  ctx.roundRect(0.5, 0.5, w - 1, h - 1, 9.5);
  Object.assign(ctx, { strokeStyle: edge, lineWidth: 1 });
  ctx.stroke();
}

/* The points of a buffer, as discs of a share `seen` of their opacity. */
function strew(pixels, view, buffer, { size, rgb, opacities }, seen) {
  const { n, scale, limit } = state.data, [a, b, f] = around(2 * n);
  const W = view.canvas.width, H = view.canvas.height, unit = scale * W / (2 * limit);
  const left = (W - size + 1) / 2, top = (H - size + 1) / 2, disc = Int32Array.from(opacities, v => v * seen + 0.5);
  for (let k = 0; k < 2 * n; k += 2) {
    const x = Math.floor(left + unit * (buffer[a + k] + (buffer[b + k] - buffer[a + k]) * f));
    const y = Math.floor(top - unit * (buffer[a + k + 1] + (buffer[b + k + 1] - buffer[a + k + 1]) * f));
    if (x < 0 || y < 0 || x + size > W || y + size > H) continue;
    for (let v = 0, m = 0, row = y * W + x; v < size; v++, row += W)
      for (let u = row; u < row + size; u++, m++) pixels[u] = over(rgb, disc[m], pixels[u]);
  }
}

/* 1-D: bars against the true curve; both have area 1, so they may be compared by eye. */
function drawHistogram(view) {
  const { ctx, panel, w, h } = view, { data, theme, at } = state, { limit, n } = data;
  const base = h * 0.64, bins = 80, G = data.density.size, source = data.density.data, [a, b, f] = around(G);
  const heights = buffer => histogram(n, j => read(buffer, at, j, 0), bins, limit);
  const density = Float64Array.from({ length: G }, (_, k) => source[a + k] * (1 - f) + source[b + k] * f);
  const area = sum(density) * 2 * limit / G || 1, shown = shows('x0') ? [...heights(panel.x0)] : [];
  const top = Math.max((1.35 * Math.max(...density)) / area, 1.05 * Math.max(...shown)) || 1,
    y = v => base - (base - 12) * Math.min(1, v / top);
  if (shows('samples')) drawBars(ctx, heights(xOf(view)), w, base, y, theme.sample);
  if (shows('density')) {
    const curve = [...density].map((v, k) => [(k + 0.5) * w / G, y(v / area)]);
    stroke(ctx, curve, theme.paper, 4, 0.8);
    stroke(ctx, curve, theme.density, 2, 1);
  }
  if (shows('x0')) {
    const tops = shown.flatMap((v, k) => [[k * w / bins, y(v)], [(k + 1) * w / bins, y(v)]]);
    stroke(ctx, [[0, base], ...tops, [w, base]], theme.x0, 1.5, ahead());
  }
  line(ctx, [[0, base], [w, base]], theme.line, 1);
}

function stroke(ctx, points, colour, width, alpha, dash) {
  ctx.globalAlpha = alpha;
  line(ctx, points, colour, width, dash);
  ctx.globalAlpha = 1;
}

/* Pixels of sample j at every state between two positions, the positions included. */
function stops(view, j, from, to) {
  const list = [from];
  for (let i = Math.floor(from) + 1; i < to; i++) list.push(i);
  return [...list, to].map(at => place(view, xOf(view), at, j));
}

/* The way so far: from noise, or from data while noise is added. Old segments fade, as a comet's tail does: many paths
   stay readable, and time gets a direction. */
function drawPath(view, j, colour, width, fade) {
  const { ctx } = view,
    { at, theme, data } = state,
    few = data.F <= 9,
    start = data.F <= 17 || colour === theme.focus ? 0 : Math.max(0, Math.floor(at) - 12);
  const points = state.forward ? stops(view, j, at, lastState()).reverse() : stops(view, j, start, at),
    legs = points.length - 1, span = few ? 1 : Math.ceil(legs / 8);
  for (let k = 0; k < legs; k += span) {
    const leg = points.slice(k, k + span + 1), alpha = 1 - fade * (legs - k) / (legs + 1);
    if (few) stroke(ctx, leg, theme.paper, width + 2, alpha * 0.6);
    stroke(ctx, leg, colour, width, alpha);
    ctx.globalAlpha = alpha;
    if (few) disc(ctx, points[k], 1.6 + width * 0.4, colour, theme.paper, 0.75);
    ctx.globalAlpha = 1;
  }
  disc(ctx, points[legs], 2.8 + width * 0.6, colour, theme.paper, 1.25);
}

function drawLink(view, j) {
  if (!ahead()) return;
  const { at, theme } = state,
    from = place(view, view.panel.x, at, j),
    to = place(view, view.panel.x0, at, j, lastState());
  stroke(view.ctx, [from, to], theme.x0, 1, 0.8 * ahead());
  disc(view.ctx, to, 3, theme.x0, theme.paper, 1);
}

/* The followed sample: its past as a line, its future as dots, so that one noise shows all its fates at once. */
function drawFocus(view, j) {
  const { ctx } = view, { at, theme, data } = state, x = xOf(view);
  if (!state.forward) {
    stroke(ctx, stops(view, j, at, lastState()), theme.focus, 1.5, data.F <= 17 ? 0.8 : 0.4, [2, 4]);
    disc(ctx, place(view, x, lastState(), j), 3, theme.paper, theme.focus, 1.5);
  }
  if (shows('x0')) drawLink(view, j);
  drawPath(view, j, theme.focus, data.F <= 17 ? 2 : 1.2, data.F <= 17 ? 0.3 : 0.8);
  const here = place(view, x, at, j);
  disc(ctx, here, 8, null, theme.focus, 1.5);
  const numbers = pointOf(x, at, j).map((v, c) => inUnits(data.axes, v, c));
  drawTag(view, here, `#${j}  ${data.dim === 2 ? `(${numbers.join(', ')})` : numbers[0]}`);
}

function drawTag({ ctx, w, h }, [x, y], text) {
  ctx.font = `700 13px ${state.theme.font}`;
  const width = ctx.measureText(text).width + 14,
    left = clamp(x + 12, 4, w - width - 4),
    top = y > 42 ? y - 34 : y + 14;
  ctx.fillStyle = state.theme.focus;
  ctx.beginPath();
  ctx.roundRect(left, clamp(top, 4, h - 26), width, 22, 6);
  ctx.fill();
  ctx.fillStyle = state.theme.paper;
  ctx.textBaseline = 'middle';
  ctx.fillText(text, left + 7, clamp(top, 4, h - 26) + 11.5);
}
