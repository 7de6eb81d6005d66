/* A landscape of ddgan/views/landscape.py in 3-D: all scenes of its figure are seen from one place.

The page runs it before posterior.js; the file that views/landscape.py writes has it inside. It needs Plotly alone.
A drag turns (by touch only sideways: up and down scroll the page), so do the arrow keys; + and - or a wheel with Ctrl
come nearer. show(figure) draws another figure, draw() the same one in another theme.

For tests: .landscape-plot has data-drawn, how often it was drawn, and is plotly's graph. */

const LANDSCAPE_VIEWS = {
  'First view': {}, 'From above': { turn: 270, rise: 88 }, 'From the side': { turn: 252, rise: 13 },
};
const RADIAN = Math.PI / 180;

/* Where a figure's camera stands: degrees around and above, and how far. */
const placeOf = ({ eye: { x, y, z }, center }) => {
  const far = Math.hypot(x, y, z - center.z);
  return { turn: Math.atan2(y, x) / RADIAN, rise: Math.asin((z - center.z) / far) / RADIAN, far };
};

/* {scene: camera} for a figure's scenes, all at one place. */
const camerasAt = ({ turn, rise, far }, center, figure) => {
  const flat = far * Math.cos(rise * RADIAN);
  const eye = {
    x: flat * Math.cos(turn * RADIAN),
    y: flat * Math.sin(turn * RADIAN),
    z: far * Math.sin(rise * RADIAN) + center.z,
  };
  const scenes = Object.keys(figure.layout).filter(key => /^scene\d*$/.test(key));
  return Object.fromEntries(scenes.map(scene => [`${scene}.camera`, { eye, center, up: { x: 0, y: 0, z: 1 } }]));
};

/* Drags, keys, a wheel with Ctrl: each looks from a place that `look` is told, from `place` on; Home from `home()`. */
const turnedBy = (plot, place, look, home) => {
  let held = null;
  plot.addEventListener('pointerdown', e => {
    if (e.button) return;
    plot.setPointerCapture(e.pointerId);
    held = [e.clientX, e.clientY];
  });
  plot.addEventListener('pointermove', e => {
    if (!plot.hasPointerCapture(e.pointerId)) return;
    const [dx, dy] = [e.clientX - held[0], e.clientY - held[1]];
    held = [e.clientX, e.clientY];
    look({ turn: place.turn - 0.5 * dx, rise: place.rise + (e.pointerType === 'touch' ? 0 : 0.4 * dy) });
  });
  plot.addEventListener('wheel', e => {
    if (!e.ctrlKey) return;                                 // a plain wheel scrolls the page
    e.preventDefault();
    look({ far: place.far * Math.exp(0.002 * e.deltaY) });
  }, { passive: false });
  plot.addEventListener('keydown', e => {
    const by = e.shiftKey ? 15 : 5, { turn, rise, far } = place;
    const change = {
      ArrowLeft: { turn: turn + by },
      ArrowRight: { turn: turn - by },
      ArrowUp: { rise: rise - by },
      ArrowDown: { rise: rise + by },
      '+': { far: far / 1.1 },
      '-': { far: far * 1.1 },
      Home: home(),
    }[e.key];
    if (!change) return;
    e.preventDefault();
    look(change);
  });
};

const landscapeParts = () => `
    <div class="landscape-plot" tabindex="0" role="application"
      aria-label="Surfaces in 3-D: arrow keys turn them all, plus and minus zoom, Home begins again"></div>
    <div class="landscape-views" role="group" aria-label="Seen from">
      ${Object.keys(LANDSCAPE_VIEWS)
        .map(name => `<button type="button">${name}</button>`)
        .join('')}<span>${matchMedia('(pointer: coarse)').matches ? 'Swipe sideways' : 'Drag, or use the arrow keys'}:
        all turn together.</span></div>`;

const landscape = (node, Plotly, isDark) => {
  const place = {};
  let figure = null, home = null, center = null, due = false;

  if (!document.createElement('canvas').getContext('webgl')) {
    node.textContent = 'This browser draws nothing in 3-D, as it has no WebGL.';
    return { draw() {}, show() {} };
  }
  node.innerHTML = landscapeParts();
  const plot = node.firstElementChild;
  plot.dataset.drawn = 0;

  const put = values => {
    for (const [path, value] of Object.entries(values)) {
      const keys = path.split('.'), last = keys.pop();
      keys.reduce((part, key) => part[key], figure)[last] = value;
    }
  };
  const draw = async () => {
    const width = plot.clientWidth;
    if (!figure || !width) return;
    const { themes, shapes, narrow } = figure.layout.meta;
    put(themes[isDark() ? 'dark' : 'light']);
    put(shapes[width < narrow ? 'narrow' : 'wide']);
    const { length } = figure.data, room = width < narrow ? length * width : width / length;
    put({ 'layout.height': Math.min(figure.layout.height, Math.round(0.95 * room)) });     // or sides would be cut
    for (const [path, camera] of Object.entries(camerasAt(place, center, figure))) put({ [`layout.${path}`]: camera });
    figure.layout.width = width;
    await Plotly.react(plot, figure.data, figure.layout, { displayModeBar: false });
    plot.dataset.drawn++;
  };
  const look = change => {
    Object.assign(place, change);
    place.rise = Math.min(88, Math.max(0, place.rise));
    place.far = Math.min(4, Math.max(0.6, place.far));
    if (due || !figure) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      Plotly.relayout(plot, camerasAt(place, center, figure));
    });
  };
  const show = found => {
    figure = found;
    if (!home) {
      ({ center } = figure.layout.scene.camera);
      home = placeOf(figure.layout.scene.camera);
      Object.assign(place, home);
    }
    return draw();
  };

  turnedBy(plot, place, look, () => home);
  node.addEventListener('click', e => {
    const view = LANDSCAPE_VIEWS[e.target.textContent];
    if (view && e.target.matches('button')) look({ ...home, ...view });
  });
  new ResizeObserver(() => { if (figure && plot.clientWidth !== figure.layout.width) draw(); }).observe(plot);
  return { draw, show };
};
