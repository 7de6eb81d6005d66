import { Buffer } from 'node:buffer';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './scripts.mjs';

const { planes, greyed, over, base64url } = load('pixels');

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

test('base64url is what Python reads: no padding, - and _', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  assert.equal(base64url(bytes), Buffer.from(bytes).toString('base64url'));
  assert.equal(base64url(Uint8Array.from([255, 239])), '_-8');
});

test('a colour over a pixel is that of two layers of light, whatever shows through both', () => {
  const parts = pixel => [0, 8, 16, 24].map(at => pixel >>> at & 255);
  assert.deepEqual(parts(over(0x102030, 200, 0)), [0x30, 0x20, 0x10, 200]);
  assert.deepEqual(parts(over(0x102030, 255, 0x80ffffff)), [0x30, 0x20, 0x10, 255]);
  for (const [rgb, opacity, pixel] of [[0x0000ff, 100, 0xff00ff00], [0xd55e00, 60, 0x40b27200]]) {
    const found = parts(over(rgb, opacity, pixel)), below = parts(pixel), s = opacity / 255, b = below[3] / 255;
    for (const ground of [0, 255])        // what it looks like on black and on white
      for (const c of [0, 1, 2]) {
        const seen = s * (rgb >> 8 * c & 255) + (1 - s) * (b * below[c] + (1 - b) * ground), a = found[3] / 255;
        assert.ok(Math.abs(a * found[c] + (1 - a) * ground - seen) < 1.5);
      }
  }
});
