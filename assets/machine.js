/* One step of the machine as a diagram: what goes into it and comes out, for the samples of one panel.

ddgan/ui/canvas.py puts it before stage.js and image_step.js, after common.js. machine(node) draws into a figure; its
show(step) takes {key, label, t, s, xt, x0, xs}: a panel's key and label, the levels that the step leaves and reaches,
and the three states. They are points [[x, y], ...], with {dim, limit, held}, held being which of them is held, or null;
or images, as canvases. */

/* What draws x_0 in a panel, and whether that needs z. */
const DRAWS = {
  ddgan: ['G', 'x_t, z, t', true],
  official: ['G', 'x_t, z, t', true],
  mixture: ['mixture network', 'x_t, t, then a draw', true],
  exact: ['q(x_0 | x_t)', 'the truth', true],
  gaussian: ['best Gaussian', 'of q(x_0 | x_t)', true],
};
const MEAN = ['mean', 'of x_0 given x_t', false];
const SIDE = 112, TOP = 24; // of a plot; of its upper edge

/* A text of an svg in which x_1 has its index below. */
function writeLevels(node, text) {
  const parts = text.replace(/x_(\w+)/g, 'x\n$1\n\u200b\n').split('\n').filter(Boolean);
  if (node.childNodes.length !== parts.length)
    node.innerHTML = text.replace(/x_(\w+)/g, 'x<tspan dy="3" font-size="75%">$1</tspan><tspan dy="-3">\u200b</tspan>');
  node.childNodes.forEach((part, k) => retext(part, parts[k]));
}

const machine = node => {
  const plot = (name, left) => `<g class="${name}" transform="translate(${left} ${TOP})">
    <rect width="${SIDE}" height="${SIDE}" rx="8"/><path class="all"/>
    <image width="${SIDE}" height="${SIDE}" preserveAspectRatio="none"/><circle r="5" visibility="hidden"/>
    <text x="${SIDE / 2}" y="${SIDE + 15}"></text></g>`;
  const box = (name, left, width) => `<g class="box ${name}" transform="translate(${left} 58)">
    <rect width="${width}" height="44" rx="8"/><text class="head" x="${width / 2}" y="19"></text>
    <text class="small" x="${width / 2}" y="35"></text></g>`;
  const arrow = (from, to, y = 80) => `<path class="arrow" d="M${from} ${y}H${to - 3}m-5-4l5 4l-5 4"/>`;
  const down = (x, name) => `<g class="${name}"><path class="arrow" d="M${x} 30V55m-4-5l4 5l4-5"/>
    <text x="${x}" y="20"></text></g>`;
  node.innerHTML = `<figcaption></figcaption>
    <div tabindex="0" role="group" aria-label="Diagram of the step"><svg viewBox="0 0 1000 178" role="img">
    ${plot('xt', 6)}${arrow(118, 172)}${box('draws', 172, 132)}${down(238, 'z')}
    ${arrow(304, 350)}${plot('x0', 350)}${arrow(462, 512)}${box('known', 512, 140)}${down(582, 'eps')}
    ${arrow(652, 698)}${plot('xs', 698)}<g class="judge">${arrow(810, 866)}${box('D', 866, 124)}
    <path class="arrow" d="M62 160V170H928V105m-4 5l4-5l4 5"/></g>
    <path class="arrow" d="M62 160V170H582V105m-4 5l4-5l4 5"/></svg></div>`;
  const find = selector => node.querySelector(selector);
  const write = (selector, text) => writeLevels(find(selector), text);
  write('.z text', 'z ~ N(0, I)');
  write('.eps text', 'ε ~ N(0, I)');
  write('.D .head', 'D');
  const inside = v => clamp(v, 3, SIDE - 3);
  const spread = (dim, limit, points) => ([x, y], j) => [
    inside(SIDE / 2 * (1 + x / limit)),
    inside(dim === 2 ? SIDE / 2 * (1 - y / limit) : SIDE * (j + 0.5) / points.length),
  ];
  const fill = (name, points, { dim, limit, axes, held }) => {
    const pixels = points.map(spread(dim, limit, points)), here = held === null ? null : pixels[held];
    find(`.${name} .all`).setAttribute('d', pixels.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join(''));
    const mark = find(`.${name} circle`);
    mark.setAttribute('visibility', here ? 'visible' : 'hidden');
    if (here) for (const [k, of] of ['cx', 'cy'].entries()) mark.setAttribute(of, here[k].toFixed(1));
    return held === null ? '' : ` = ${points[held].map((v, c) => inUnits(axes, v, c)).join(', ')}`;
  };
  const picture = (name, canvas) => {
    find(`.${name} image`).setAttribute('href', canvas.toDataURL());
    return '';
  };
  const show = step => {
    const { key, label, t, s } = step, [head, small, drawn] = DRAWS[key] ?? MEAN, named = `x_${t}`, next = `x_${s}`;
    for (const [name, text] of [['xt', named], ['x0', 'x_0'], ['xs', next]])
      write(`.${name} text`, text + (step.dim ? fill(name, step[name], step) : picture(name, step[name])));
    write('.draws .head', head.replaceAll('x_t', named));
    write('.draws .small', small.replaceAll('x_t', named));
    write('.known .head', `q(${next} | ${named}, x_0)`);
    write('.known .small', s ? 'a Gaussian, known' : 'the last step: x_0 itself');
    write('.D .small', `judges (${next}, ${named})`);
    find('.z').style.visibility = drawn ? '' : 'hidden';
    find('.eps').style.visibility = s ? '' : 'hidden';
    find('.judge').style.visibility = key === 'ddgan' ? '' : 'hidden';
    const words = `${label}, the step from ${subscript(t)} to ${subscript(s)}`;
    retext(find('figcaption'), key === 'ddgan' ? `${words}. D looks on in training only.` : words);
    const drawing = `draws x₀ from ${subscript(t)}, then ${subscript(s)} from both`;
    find('svg').setAttribute('aria-label', `${words}: it ${drawing}.`);
  };
  return { show };
};
