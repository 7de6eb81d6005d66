/* The ruler of the class: the entropy of the class posterior over log-SNR, and where the states of a run stand on it.

ddgan/ui/canvas.py puts it before image_classes.js, after common.js. ruler(node) draws into a figure; its show(answer)
takes what ddgan/views/image_classes.py makes, of which it reads t, rows (label, look, entropy) and ruler: null |
{curve [[log-SNR, nats], ...], levels (null at x_0), step (null, or from that state to the next most is decided),
words}. */

const SHAPES = {
  circle: 'M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z',
  square: 'M-3.6-3.6h7.2v7.2h-7.2z',
  diamond: 'M0-5L5 0L0 5L-5 0z',
  cross: 'M-1.5-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z',
  x: 'M-4.5-3L-3-4.5L0-1.5L3-4.5L4.5-3L1.5 0L4.5 3L3 4.5L0 1.5L-3 4.5L-4.5 3L-1.5 0z',
};
const shaped = ({ colour, shape }, x = 0, y = 0) =>
  `<path d="${SHAPES[shape] ?? SHAPES.x}" transform="translate(${x.toFixed(1)} ${y.toFixed(1)})" fill="${colour}"/>`;

/* Where log-SNRs lie from 0 to 1: those of the curve and of the states that have one; x_0, null, at the end. */
const levelPlaces = (curve, levels) => {
  const known = [...curve.map(([level]) => level), ...levels.filter(level => level !== null)];
  const low = Math.min(...known), high = Math.max(...known) + 1;
  return level => level === null ? 1 : (level - low) / (high - low);
};

const ruler = node => {
  const LEFT = 34, RIGHT = 16, TOP = 22, HIGH = 62, FOOT = 20;
  node.innerHTML = '<svg role="img"></svg><figcaption></figcaption>';
  const [svg, caption] = node.children;
  const text = (x, y, words, more = '') => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${words}</text>`;
  const show = ({ t, rows, ruler: of }) => {
    node.hidden = !of;
    if (!of) return;
    const wide = node.clientWidth, across = levelPlaces(of.curve, of.levels);
    const most = Math.max(...of.curve.map(([, v]) => v));
    const x = level => LEFT + across(level) * (wide - LEFT - RIGHT);
    const y = nats => TOP + HIGH * (1 - nats / (1.06 * most));
    const base = TOP + HIGH, states = of.levels.map(x);
    const points = of.curve.map(([level, v]) => `${x(level).toFixed(1)},${y(v).toFixed(1)}`).join(' ');
    const flat = `${x(of.curve.at(-1)[0])},${base} ${x(of.curve[0][0])},${base}`;
    let written = -Infinity;
    const ticks = states.map((place, i) => {
      const room = place - written > 24 && (i === t.length - 1 || states.at(-1) - place > 24);
      if (room || i === t.length - 1) written = place;
      const name = room || i === t.length - 1 ? text(place, TOP - 8, subscript(t[i]), 'class="state"') : '';
      return `<path class="tick" d="M${place.toFixed(1)} ${TOP - 3}V${base}"/>${name}`;
    });
    const free = v => x(v) > LEFT && x(v) < wide - RIGHT - 64;       // of the name of the axis
    const numbers = [-10, -5, 0, 5].filter(free).map(v => text(x(v), base + 15, signed(v, 0)));
    const [from, to] = of.step === null ? [0, 0] : states.slice(of.step, of.step + 2);
    const marks = rows.flatMap(({ entropy, look }) => (entropy ?? []).map((v, i) => shaped(look, states[i], y(v))));
    svg.setAttribute('viewBox', `0 0 ${wide} ${base + FOOT}`);
    svg.setAttribute('height', base + FOOT);
    svg.setAttribute('aria-label', said(t, rows, of));
    svg.innerHTML = `<rect class="most" x="${from}" y="${TOP}" width="${to - from}" height="${HIGH}"/>
      <polygon points="${points} ${flat}"/><path class="base" d="M${LEFT} ${base}H${wide - RIGHT}"/>
      <polyline points="${points}"/>${ticks.join('')}${numbers.join('')}
      ${text(LEFT - 5, TOP - 8, 'nats', 'class="end"')}
      ${text(LEFT - 5, y(most) + 4, most.toFixed(1), 'class="end"')}${text(LEFT - 5, base + 4, '0', 'class="end"')}
      ${text(wide - RIGHT, base + 15, 'log-SNR', 'class="end"')}${marks.reverse().join('')}`;
    caption.textContent = of.words;
  };
  const said = (t, rows, of) => {
    const each = rows.filter(({ entropy }) => entropy).map(({ label, entropy }) =>
      `${label}: ${t.map((at, i) => `${subscript(at)} ${entropy[i].toFixed(2)}`).join(', ')}`);
    return [`Entropy of the class over log-SNR, in nats. ${of.words}`, ...each].join(' ');
  };
  return { show };
};
