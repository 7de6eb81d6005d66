/* How a class looks. ddgan/ui/canvas.py puts it before image_classes.js and image_tree.js, after common.js. */

/* Class k of n, dark to light, as the eye of everybody sees it (cividis); letters of the better contrast. */
const classLook = (k, n) => {
  const colour = heat(k / Math.max(n - 1, 1)).map(Math.round);
  const linear = colour.map(v => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return { background: `rgb(${colour.join(', ')})`, color: light > 0.179 ? '#000' : '#fff' };
};
