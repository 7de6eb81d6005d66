import { Buffer } from 'node:buffer';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './scripts.mjs';

const { planes, greyed, isLight, over, spread, enlarge, base64url } = load('pixels');

test('planes are the channels one after the other, without alpha', () => {
  const data = Uint8ClampedArray.from([1, 2, 3, 255, 4, 5, 6, 255]);
  assert.deepEqual([...planes(data, 3, 2)], [1, 4, 2, 5, 3, 6]);
  assert.deepEqual([...planes(data, 1, 2)], [1, 4]);
});

test('grey is the luma of a colour; on white paper it is turned, elsewhere not', () => {
  const of = (paper, ...colours) => {
    const data = Uint8ClampedArray.from(colours.flatMap(colour => [...colour, 255]));
    greyed(data, paper);
    return [...data];
  };
  assert.deepEqual(of(false, [255, 0, 0]), [76, 76, 76, 255]);
  const white = [255, 255, 255], black = [0, 0, 0];
  assert.deepEqual(of(true, white, white, black), [black, black, white].flatMap(colour => [...colour, 255]));
  assert.deepEqual(of(false, [255, 255, 255]), [255, 255, 255, 255]);
  assert.deepEqual(of(true, [0, 0, 0], [255, 255, 255], [0, 0, 0]).slice(0, 8), [0, 0, 0, 255, 255, 255, 255, 255]);
});

test('what is seen is light where it would be lost on white, whatever is hidden', () => {
  const seen = (...pixels) => isLight(Uint8ClampedArray.from(pixels.flat()));
  assert.ok(seen([255, 255, 255, 255], [0, 0, 0, 0]));
  assert.ok(!seen([0, 0, 0, 255], [255, 255, 255, 0]) && !seen([255, 0, 0, 255]) && !seen([0, 0, 0, 0]));
});

test('base64url is what Python reads: no padding, - and _', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  assert.equal(base64url(bytes), Buffer.from(bytes).toString('base64url'));
  assert.equal(base64url(Uint8Array.from([255, 239])), '_-8');
});

test('a colour over an opaque pixel is a mix of both, and opaque', () => {
  const parts = pixel => [0, 8, 16, 24].map(at => pixel >>> at & 255);
  assert.deepEqual(parts(over(0x102030, 256, 0)), [0x30, 0x20, 0x10, 255]);
  assert.deepEqual(parts(over(0x102030, 0, 0x80ffffff)), [255, 255, 255, 255]);
  for (const rgb of [0x0000ff, 0xd55e00, 0xffffff, 0])
    for (const pixel of [0xff00ff00, 0xffb27200, 0xffffffff, 0xff000000])
      for (let opacity = 0; opacity <= 256; opacity += 16) {
        const found = parts(over(rgb, opacity, pixel)), below = parts(pixel), s = opacity / 256;
        assert.equal(found[3], 255);
        for (const c of [0, 1, 2])
          assert.ok(Math.abs(found[c] - s * (rgb >> 8 * c & 255) - (1 - s) * below[c]) <= 0.5);
      }
});

test('a few values as a large picture are smooth, and not moved', () => {
  const shades = Int32Array.from({ length: 257 }, (_, v) => v);
  const large = values => {
    const n = Math.sqrt(values.length), pixels = new Int32Array(12 * 9);
    enlarge(Float64Array.from(values), n, spread(n, 12), spread(n, 9), shades, pixels);
    return Array.from({ length: 9 }, (_, y) => [...pixels.subarray(12 * y, 12 * y + 12)]);
  };
  assert.ok(large(Array(9).fill(70)).flat().every(v => v === 70));
  const rising = large([0, 50, 100, 0, 50, 100, 0, 50, 100]);
  for (const row of rising) assert.deepEqual(row, rising[0]);
  assert.ok(rising[0].every((v, k) => !k || v > rising[0][k - 1] - 3));
  assert.ok(rising[0][0] < 10 && rising[0][11] > 90 && Math.abs(rising[0][5] + rising[0][6] - 100) <= 1);
  const dot = large([0, 0, 0, 0, 100, 0, 0, 0, 0]);      // in the middle, the same on all sides
  assert.deepEqual(dot, dot.toReversed());
  assert.deepEqual(dot, dot.map(row => row.toReversed()));
  assert.equal(Math.max(...dot.flat()), dot[4][5]);
});
