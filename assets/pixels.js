/* Pixels of a canvas (RGBA bytes) as data, for paint.js and panel.js. Nothing here knows the page. */

/* The first C channels of n pixels, one after the other. */
const planes = (data, C, n) => Uint8Array.from({ length: C * n }, (_, k) => data[4 * (k % n) + Math.floor(k / n)]);

/* Make pixels grey, by luma; handwriting on white `paper` becomes white on black. */
function greyed(data, paper) {
  for (let k = 0; k < data.length; k += 4)
    data.fill(0.299 * data[k] + 0.587 * data[k + 1] + 0.114 * data[k + 2], k, k + 3);
  const mean = data.reduce((sum, v, k) => k % 4 ? sum : sum + v, 0) / (data.length / 4);
  if (paper && mean > 127) for (let k = 0; k < data.length; k++) if (k % 4 < 3) data[k] = 255 - data[k];
}

/* Whether what is seen of pixels that may be transparent is so light that it would be lost on white. */
function isLight(data) {
  let light = 0, seen = 0;
  for (let k = 0; k < data.length; k += 4) {
    light += data[k + 3] * (0.299 * data[k] + 0.587 * data[k + 1] + 0.114 * data[k + 2]);
    seen += data[k + 3];
  }
  return light > 200 * seen;
}

/* A colour 0xBBGGRR of opacity 0..256 over an opaque pixel 0xAABBGGRR: red and blue are mixed at once. */
const over = (rgb, opacity, pixel) => 0xff000000
  | (Math.imul(pixel & 0xff00ff, 256 - opacity) + Math.imul(rgb & 0xff00ff, opacity) + 0x800080) >>> 8 & 0xff00ff
  | (Math.imul(pixel & 0xff00, 256 - opacity) + Math.imul(rgb & 0xff00, opacity) + 0x8000) >>> 8 & 0xff00;

/* How n values make `size` that are evenly spread over them, smoothly (Mitchell's filter): `weights` of four values
   each, of which the first is at `first`, where the n have been repeated twice beyond both ends. */
function spread(n, size) {
  const first = new Int32Array(size), weights = new Float64Array(4 * size);
  for (let k = 0; k < size; k++) {
    const at = (k + 0.5) * n / size - 0.5, i = Math.floor(at);
    first[k] = i + 1;
    for (let c = 0; c < 4; c++) {
      const d = Math.abs(at - (i - 1 + c)), [p, q, r, s] = d < 1 ? [21, -36, 0, 16] : [-7, 36, -60, 32];
      weights[4 * k + c] = (p * d ** 3 + q * d ** 2 + r * d + s) / 18;
    }
  }
  return { first, weights };
}

/* n x n values as an opaque picture, row by row, smooth between them: `across` and `down` are spread(n, its width and
   height), `shades` the pixel of each whole value. */
function enlarge(values, n, across, down, shades, pixels) {
  const { first, weights: w } = across, width = first.length, wide = new Float64Array(n * width);
  const row = new Float64Array(n + 4);
  for (let y = 0, k = 0; y < n; y++) {
    row.set(values.subarray(y * n, y * n + n), 2);
    row.fill(row[2], 0, 2).fill(row[n + 1], n + 2);
    for (let x = 0, i = 0; x < width; x++, i += 4) {
      const at = first[x];
      wide[k++] = w[i] * row[at] + w[i + 1] * row[at + 1] + w[i + 2] * row[at + 2] + w[i + 3] * row[at + 3];
    }
  }
  const start = y => width * Math.max(0, Math.min(n - 1, y));
  for (let y = 0, k = 0; y < down.first.length; y++) {
    const at = down.first[y], a = start(at - 2), b = start(at - 1), c = start(at), d = start(at + 1);
    const [e, f, g, h] = down.weights.subarray(4 * y, 4 * y + 4);
    for (let x = 0; x < width; x++) {
      const v = e * wide[a + x] + f * wide[b + x] + g * wide[c + x] + h * wide[d + x];
      pixels[k++] = shades[v > 0 ? v + 0.5 | 0 : 0];
    }
  }
}

/* Bytes as a word of an address. */
const base64url = bytes =>
  btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
