/* Pixels of a canvas (RGBA bytes) as data, for paint.js. Nothing here knows the page. */

/* The first C channels of n pixels, one after the other. */
const planes = (data, C, n) => Uint8Array.from({ length: C * n }, (_, k) => data[4 * (k % n) + Math.floor(k / n)]);

/* Make pixels grey, by luma; handwriting on white `paper` becomes white on black. */
function greyed(data, paper) {
  for (let k = 0; k < data.length; k += 4)
    data.fill(0.299 * data[k] + 0.587 * data[k + 1] + 0.114 * data[k + 2], k, k + 3);
  const mean = data.reduce((sum, v, k) => k % 4 ? sum : sum + v, 0) / (data.length / 4);
  if (paper && mean > 127) for (let k = 0; k < data.length; k++) if (k % 4 < 3) data[k] = 255 - data[k];
}

/* Bytes as a word of an address. */
const base64url = bytes =>
  btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
