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

/* A colour 0xBBGGRR of opacity 0..255 over a pixel 0xAABBGGRR: a pixel, not premultiplied, as ImageData has them. */
function over(rgb, opacity, pixel) {
  const left = (pixel >>> 24) * (255 - opacity) / 255, alpha = opacity + left;
  if (left < 0.5) return (opacity << 24 | rgb) >>> 0;
  const f = opacity / alpha, g = 1 - f;
  const blue = (rgb >> 16 & 255) * f + (pixel >> 16 & 255) * g + 0.5 | 0;
  const green = (rgb >> 8 & 255) * f + (pixel >> 8 & 255) * g + 0.5 | 0;
  const red = (rgb & 255) * f + (pixel & 255) * g + 0.5 | 0;
  return (alpha + 0.5 << 24 | blue << 16 | green << 8 | red) >>> 0;
}

/* `over` for every opacity over one colour of every opacity: entry opacity << 8 | that of the colour below. */
const overlays = (rgb, below) =>
  Uint32Array.from({ length: 65536 }, (_, k) => over(rgb, k >> 8, ((k & 255) << 24 | below) >>> 0));

/* Bytes as a word of an address. */
const base64url = bytes =>
  btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
