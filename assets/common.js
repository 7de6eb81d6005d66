/* What two or more of the scripts beside this one need.

Gradio runs a script as the body of a function (element, trigger, props, server, upload, watch); ddgan/ui/canvas.py puts
this file before each of them. All of it is const, so that a script that declares one of the names again fails at once.
*/

const root = element.firstElementChild;
const $ = selector => root.querySelector(selector);
/* An element with a text. Hardly any font has the letters among the subscripts (U+209B, U+209C); the digits are in
   ours. */
const make = (tag, className = '', text = '') => {
  const node = Object.assign(document.createElement(tag), { className });
  node.append(...text.split(/([ₛₜ])/).map((part, i) => i % 2 ? make('sub', '', part === 'ₛ' ? 's' : 't') : part));
  return node;
};
/* Another text in a node that has nothing else. The node of the text stays: where nodes come or go, the browser looks
   through the page for what :has() says now, and that takes milliseconds. */
const retext = (node, text) => {
  const only = node.childNodes.length === 1 && text ? node.firstChild : node;
  if (only.textContent !== text) only.textContent = text;
};
/* Cividis at v in 0..1, the colour map that reads the same with every kind of colour vision: between some of its
   colours it is linear. */
const heat = v => {
  const most = LOOKS.heat.length - 1, at = clamp(v, 0, 1) * most, i = Math.min(most - 1, Math.floor(at));
  return LOOKS.heat[i].map((c, k) => c + (LOOKS.heat[i + 1][k] - c) * (at - i));
};
const offscreen = (width, height) => Object.assign(document.createElement('canvas'), { width, height });

/* A notice; where it stands out of sight, a copy of it floats over the page for a while. */
let floating = null;
const say = (text, failed = false) => {
  const notice = $('[role=status]');
  notice.textContent = text ?? '';
  notice.classList.toggle('failed', failed);
  floating?.remove();
  if (!text || !root.clientWidth) return;
  const { top, bottom } = notice.getBoundingClientRect();
  if (bottom > 0 && top < innerHeight) return;
  const mine = floating = make('p', 'notice-floating', text);
  mine.setAttribute('aria-hidden', 'true');
  document.body.append(mine);
  setTimeout(() => mine.remove(), 7000);
};

const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');
const bring = (node, block = 'start') =>
  node?.scrollIntoView({ block, behavior: reducedMotion.matches ? 'auto' : 'smooth' });

// ---------------------------------------------------------------- numbers and words

const clamp = (v, lo, hi) => Math.min(hi, Math.max(lo, v));
const sum = values => values.reduce((a, b) => a + b, 0);
const signed = (v, digits) => v.toFixed(digits).replace(/^-(?=[0.]*$)/, '').replace('-', '−');
const subscript = t => 'x' + [...String(t)].map(d => String.fromCharCode(0x2080 + +d)).join('');
const rgb = hex => hex.match(/\w\w/g).map(v => parseInt(v, 16));

/* Numbers of a payload, in base64. */
const unpack = (text, Type) => {
  const plain = atob(text), raw = new Uint8Array(plain.length);
  for (let i = 0; i < raw.length; i++) raw[i] = plain.charCodeAt(i);
  return new Type(raw.buffer);
};

// ---------------------------------------------------------------- the page around

const gallery = () => document.querySelector('#gallery .gallery').gallery;
const tell = (what, detail) => document.dispatchEvent(new CustomEvent(`ddgan:${what}`, { detail }));
const hear = (what, act) => listen(document, `ddgan:${what}`, e => (root.isConnected ? act(e.detail) : dispose()));

/* plotly.js from our own server, of the version that figures are made for, whatever else the page may have; one for all
   scripts. */
const plotlyAt = version => `gradio_api/plotly?v=${version}`;
const plotly = version => document.plotly ??= new Promise((done, failed) => {
  const script = make('script');
  script.onload = () => done(window.Plotly);
  script.onerror = () => {
    document.plotly = null;
    failed(new Error('plotly.js did not come'));
  };
  script.src = plotlyAt(version);
  document.head.append(script);
});

/* What a request, and the gallery's view of it, may have in the page's address. */
const NO_REQUEST = Object.fromEntries(
  'data denoisers T schedule span seed n forks edit eta budget label show of'.split(' ').map(name => [name, null]),
);

/* Parameters of the page's address, null for one to leave out. */
const keepInAddress = values => {
  const url = new URL(location.href),
    text = params => params.toString().replace(/%(2C|3A)/g, decodeURIComponent); // , and : are for people to read
  for (const [name, value] of Object.entries(values))
    value === null ? url.searchParams.delete(name) : url.searchParams.set(name, value);
  const query = '?' + text(url.searchParams) + url.hash;
  if (query === location.search + location.hash) return;
  history.replaceState(history.state, '', query);
  // In a Space we live in an iframe, and only the page around us can show the address, without what the Space itself
  // put there (__sign).
  if (window.parent !== window && document.referrer.startsWith('https://huggingface.co/'))
    window.parent.postMessage(
      {
        queryString: text(new URLSearchParams([...url.searchParams].filter(([name]) => !name.startsWith('__')))),
        hash: '',
      },
      'https://huggingface.co',
    );
};

// ---------------------------------------------------------------- life cycle

/* gr.HTML has no destroy hook: whoever finds that root has left the page lets go of everything outside it. */
const gone = new AbortController(), dispose = () => gone.abort();
const listen = (to, what, act, more = {}) => to.addEventListener(what, act, { signal: gone.signal, ...more });

/* What calls `act` once, in the next frame, however often it is called until then. While the page is printed no frame
   comes: it is called at once, though not by itself. */
const inFrame = act => {
  let request = 0, acting = false;
  const run = now => {
    request = 0;
    acting = true;
    try { act(now); } finally { acting = false; }
  };
  return () => {
    if (!document.body.classList.contains('printed')) request ||= requestAnimationFrame(run);
    else if (!acting) run(performance.now());
  };
};

/* A node is left out on paper where late() says, as the print begins, that it does not belong there. */
const onPaper = (node, late) => listen(window, 'beforeprint', () => node.classList.toggle('late', late()));
const letGo = act => gone.signal.addEventListener('abort', act);
/* What does `act` once it has not been called again for so many ms, while root is on the page. */
const calmly = (act, ms) => {
  let later = null;
  return () => {
    clearTimeout(later);
    later = setTimeout(() => root.isConnected && act(), ms);
  };
};
const observing = observer => { letGo(() => observer.disconnect()); return observer; };

/* Call act with the gallery's run() whenever its sample, its state or its picture is another one, while root is shown;
   returns how to call it now. */
const followGallery = act => {
  let watched = null;
  const now = () => {
    const stage = document.querySelector('#gallery .gallery'), chosen = stage?.gallery?.run();
    if (stage && !watched) {
      watched = observing(new MutationObserver(() => (root.isConnected ? now() : dispose())));
      watched.observe(stage, { attributes: true, attributeFilter: ['data-id', 'data-chosen', 'data-state'] });
    }
    if (chosen?.of && root.clientWidth) act(chosen);
  };
  hear('images', now);
  return now;
};

/* The question about the gallery's sample that a click on #images-ID asks, `ms` after the choice if that stays; root
   is stale from then on. `name` tells two questions apart. choose(chosen): whether it is another one; is(answer):
   whether that answers it; forget(): it has no answer and may be asked again. shown() is the answer on the page, or
   null: on paper, none stands below another picture than its own. While the server reads the training set, that is all
   that reading(answer), the answer on the page, lacks: wait() asks for it in a moment, look() now, question(), what the
   server is asked, says so, and completes(answer) is whether such an answer still fits. */
const questionOf = (id, ms, shown, reading, name = ({ query, item, of }) => `${query} ${item}.${of}`) => {
  let asked = '', later = null;
  const chosen = () => document.querySelector('#gallery .gallery')?.gallery?.run();
  const isShown = of => !!shown()?.query && name(shown()) === name(of);
  const lacks = () => !!shown() && !!reading?.(shown());
  onPaper(root, () => !!chosen() && !!shown()?.query && !isShown(chosen()));
  const ask = () => document.querySelector(`#images-${id}`)?.click(), soon = calmly(ask, ms);
  const look = () => { if (root.clientWidth && lacks()) ask(); };
  return {
    look,
    wait: () => {
      clearTimeout(later);
      if (lacks()) later = setTimeout(look, 1500);
    },
    question: () => {
      const of = chosen();
      return of && { ...of, exact_only: isShown(of) && lacks() };
    },
    choose: chosen => {
      if (name(chosen) === asked) return false;
      clearTimeout(later);
      asked = name(chosen);
      root.classList.add('stale');
      soon();
      return true;
    },
    is: answer => !asked || name(answer) === asked,
    completes: answer => isShown(answer) && lacks(),
    forget: () => {
      root.classList.remove('stale');
      asked = '';
    },
  };
};

/* When root, or what the observer is given besides, has another size; `narrow` is root under so many pixels. */
const onSize = (act, narrow = 0) => {
  const sizes = observing(new ResizeObserver(() => {
    if (!root.isConnected) return dispose();
    if (!root.clientWidth) floating?.remove();      // it does not follow to another tab
    root.classList.toggle('narrow', root.clientWidth > 0 && root.clientWidth < narrow);
    act();
  }));
  sizes.observe(root);
  return sizes;
};

/* When root comes into sight and when it goes, seen with such margins. */
const onSight = (act, rootMargin) =>
  observing(new IntersectionObserver(seen => act(seen.at(-1).isIntersecting), { rootMargin })).observe(root);

/* When the page turns dark or light. */
const onTheme = act =>
  observing(new MutationObserver(() => act())).observe(document.body, { attributes: true, attributeFilter: ['class'] });

// ---------------------------------------------------------------- drawing and keys

/* Colours and strengths by their name in ddgan/views/looks.py, as they are in the theme of now. */
const colours = () => {
  const css = getComputedStyle(root);
  return name => css.getPropertyValue(`--look-${name}`).trim();
};

/* Some of them, and the font. */
const themeOf = (...names) => {
  const colour = colours(), found = names.map(name => [name, colour(name)]);
  return { font: getComputedStyle(root).fontFamily, ...Object.fromEntries(found) };
};

/* A canvas as large as it is shown, empty, to be drawn on in css pixels. */
const blank = canvas => {
  const dpr = Math.min(devicePixelRatio || 1, 2),
    w = canvas.clientWidth,
    h = canvas.clientHeight,
    width = Math.round(w * dpr),
    height = Math.round(h * dpr);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const ctx = canvas.getContext('2d');
  ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
  ctx.clearRect(0, 0, w, h);
  return { ctx, w, h };
};

/* A picture of w x h cells, [r, g, b, a] of the k-th. */
const pixelated = (w, h, colourOf) => {
  const canvas = offscreen(w, h), image = new ImageData(w, h);
  for (let k = 0; k < w * h; k++) image.data.set(colourOf(k), 4 * k);
  canvas.getContext('2d').putImageData(image, 0, 0);
  return canvas;
};

/* The density of n values in each of the bins, those beyond the limit left out. */
const histogram = (n, valueOf, bins, limit) => {
  const density = new Float64Array(bins), unit = bins / (2 * limit * n);
  for (let j = 0; j < n; j++) {
    const b = Math.floor((valueOf(j) + limit) / (2 * limit) * bins);
    if (b >= 0 && b < bins) density[b] += unit;
  }
  return density;
};

/* Its values as bars from `base` to y(value). */
const drawBars = (ctx, values, w, base, y, colour) => {
  const wide = w / values.length;
  Object.assign(ctx, { fillStyle: colour, globalAlpha: 0.6 });
  values.forEach((v, k) => v && ctx.fillRect(k * wide + 0.5, y(v), wide - 1, base - y(v)));
  ctx.globalAlpha = 1;
};

/* A disc that is filled, or has an edge, or both. */
const disc = (ctx, [x, y], radius, fill, edge = null, width = 1) => {
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 7);
  if (fill) { ctx.fillStyle = fill; ctx.fill(); }
  if (edge) { Object.assign(ctx, { strokeStyle: edge, lineWidth: width }); ctx.stroke(); }
};

const line = (ctx, points, colour, width, dash = []) => {
  ctx.beginPath();
  for (const [x, y] of points) ctx.lineTo(x, y);
  Object.assign(ctx, { strokeStyle: colour, lineWidth: width, lineJoin: 'round' });
  ctx.setLineDash(dash);
  ctx.stroke();
  ctx.setLineDash([]);
};

const cross = (ctx, [x, y], reach, colour, width) => {
  line(ctx, [[x - reach, y], [x + reach, y]], colour, width);
  line(ctx, [[x, y - reach], [x, y + reach]], colour, width);
};

/* Where a pointer is on a picture of the plane from -limit to limit, each way. */
const inPlane = (picture, { clientX, clientY }, limit) => {
  const { left, top, width, height } = picture.getBoundingClientRect();
  return [(2 * (clientX - left) / width - 1) * limit, (1 - 2 * (clientY - top) / height) * limit];
};

/* Ticks and names of the axes inside a picture, in the units of the user's table (ddgan/explorer/plane.py); on a line,
   below `base`. */
const drawScales = ({ ctx, w, h }, axes, limit, { ink, paper, font }, base = null) => {
  if (!axes.length) return;
  ctx.save();
  Object.assign(ctx, { font: `11px ${font}`, lineWidth: 3, lineJoin: 'round', strokeStyle: paper, fillStyle: ink });
  const write = (text, x, y, align, alpha) => {
    Object.assign(ctx, { textAlign: align, globalAlpha: alpha });
    ctx.strokeText(text, x, y);
    ctx.fillText(text, x, y);
  };
  axes.forEach(({ name, ticks }, c) => {
    const title = name.length < 30 ? name : name.slice(0, 28) + '…', foot = base ?? h;
    ctx.textBaseline = c ? 'middle' : 'alphabetic';
    for (const [place, text] of ticks) {
      const at = c ? h / 2 * (1 - place / limit) : w / 2 * (1 + place / limit), half = ctx.measureText(text).width / 2;
      if (c ? at > h - 24 || at < 26 : at < half || at > w - half) continue;
      ctx.globalAlpha = 0.7;
      if (c) ctx.fillRect(0, at - 0.5, 5, 1); else ctx.fillRect(at - 0.5, base ?? h - 5, 1, 5);
      write(text, c ? 8 : at, c ? at : base === null ? h - 8 : base + 16, c ? 'left' : 'center', 0.7);
    }
    ctx.textBaseline = 'alphabetic';
    if (c) write(title, 6, 15, 'left', 1); else write(title, w - 6, base === null ? foot - 22 : foot + 30, 'right', 1);
  });
  ctx.restore();
};

/* The units of coordinate c: those of its column of a table, in as many digits as it deserves, or standard ones. */
const axisOf = (axes, c) => axes[c] ?? { centre: 0, unit: 1, digits: 2 };
const inUnits = (axes, x, c) => {
  const { centre, unit, digits } = axisOf(axes, c);
  return signed(centre + unit * x, digits);
};

const counted = (n, what) => `${n} ${what}${n === 1 ? '' : 's'}`;

const takesBack = e => (e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'z';

/* Do what one of the keys {name: act | null} stands for, instead of what it does to a page; whether it was one of them.
   */
const obey = (e, keys) => {
  if (!keys[e.key]) return false;
  e.preventDefault();
  keys[e.key]();
  return true;
};

/* Escape closes what is open, wherever the focus is. */
const onEscape = (isOpen, close) =>
  listen(document, 'keydown', e => { if (!e.defaultPrevented && isOpen()) obey(e, { Escape: close }); },
    { capture: true });
