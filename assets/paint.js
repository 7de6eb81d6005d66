/* A board of pixels to begin with: drawn, uploaded or taken from the gallery, as large as the images of the data.

Gradio runs it after common.js, for ddgan/ui/images.py. Nothing is sent while one paints,
not even an uploaded picture: edit() is what the page's button reads, "t.PIXELS", the `edit` of a request: the level to
which the image is noised, and its pixels, deflated, in base64url (ddgan/data/images.py). The shape of the data and the
levels come from the gallery (assets/image_grid.js). For tests: .paint has data-ready, data-shape and .paint.board =
{edit, pixels}. */

const SHOWN = 300;            // css pixels, about
const GROUND = { 1: '#000000', 3: '#8c8c8c' };      // of an empty board, by the channels of the images
const UNDO = 30;

const pixels = document.createElement('canvas'), ink = pixels.getContext('2d', { willReadFrequently: true });
const state = { shape: null, run: null, colour: '', past: [], boards: {}, last: null, pen: null, cursor: null };

root.innerHTML = `
  <div class="paint-board"><canvas tabindex="0" role="application"
    aria-label="Board of pixels. Arrow keys move a cursor, space paints, control Z undoes."></canvas></div>
  <div class="draw-side">
    <div class="draw-group paint-colours" role="radiogroup" aria-label="Colour"></div>
    <label class="draw-spread"><span>Width of the brush</span><input type="range" min="1" max="10" step="0.5"
      value="2.5"></label>
    <div class="draw-group"><button type="button" data-act="undo">Undo</button><button type="button"
      data-act="clear">Clear</button></div>
    <div class="draw-group"><span>Or begin with</span>
      <button type="button" data-act="upload">a picture of yours</button><button type="button"
        data-act="take">the chosen sample</button></div>
    <input type="file" accept="image/*" hidden>
    <label class="paint-level"><span>Noise it to</span> <select aria-label="Level of noise"></select></label>
    <p class="draw-help" role="status"></p>
  </div>`;

const canvas = $('canvas'),
  ctx = canvas.getContext('2d'),
  levels = $('select'),
  file = $('[type=file]'),
  said = $('.draw-help');
const HELP = 'Much noise leaves the layout, little keeps the strokes. Each sample has noise and z of its own.';

// ---------------------------------------------------------------- the image

function fill(colour) {
  ink.fillStyle = colour;
  ink.fillRect(0, 0, pixels.width, pixels.height);
}

function keep() {
  said.textContent = HELP;
  state.past.push(ink.getImageData(0, 0, pixels.width, pixels.height));
  state.past.splice(0, state.past.length - UNDO);
}

/* Another kind of image: a board of its size and colours, with what was painted on it. */
function shaped(shape) {
  if (state.shape)
    state.boards[state.shape] = { past: state.past, image: ink.getImageData(0, 0, pixels.width, pixels.height) };
  const [C, H, W] = state.shape = shape, before = state.boards[shape];
  state.cursor = [W >> 1, H >> 1];
  Object.assign(pixels, { width: W, height: H });
  state.past = before?.past ?? [];
  state.colour = LOOKS.paints[C][0][1];
  $('.paint-colours').innerHTML =
    LOOKS.paints[C]
      .map(
        ([name, colour], i) => `<label class="paint-colour" title="${name}" style="--ink: ${colour}">
    <input type="radio" name="paint-colour" value="${colour}" aria-label="${name}"${i ? '' : ' checked'}></label>`,
      )
      .join('') +
    (C === 3
      ? `<label class="paint-any">any <input type="color" value="${state.colour}" aria-label="Any colour"></label>`
      : '');
  fill(GROUND[C]);
  if (before) ink.putImageData(before.image, 0, 0);
  root.dataset.shape = shape;
}

function draw() {
  if (!state.shape || !root.clientWidth) return;
  const dpr = devicePixelRatio || 1,
    [, H, W] = state.shape,
    k = Math.max(1, Math.floor((Math.min(SHOWN, root.clientWidth) * dpr) / W));
  Object.assign(canvas, { width: k * W, height: k * H });
  Object.assign(canvas.style, { width: k * W / dpr + 'px', height: k * H / dpr + 'px' });
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(pixels, 0, 0, k * W, k * H);
  if (state.cursor && document.activeElement === canvas) {
    ctx.strokeStyle = colours()('x0');
    ctx.lineWidth = Math.max(2, k / 6);
    ctx.strokeRect(state.cursor[0] * k, state.cursor[1] * k, k, k);
  }
  $('[data-act=undo]').disabled = !state.past.length;
  root.dataset.ready = '1';
}

function dab(from, to) {
  ink.strokeStyle = state.colour;
  ink.lineWidth = $('[type=range]').valueAsNumber;
  ink.lineCap = 'round';
  ink.beginPath();
  ink.moveTo(...from);
  ink.lineTo(to[0] + 1e-3, to[1]);      // a line of no length would not be drawn
  ink.stroke();
  draw();
}

/* A picture fills the board, its middle square; handwriting on white `paper` becomes white on black. */
async function put(source, paper = false) {
  const [C, H, W] = state.shape, side = Math.min(source.width, source.height);
  const small = await createImageBitmap(source, (source.width - side) / 2, (source.height - side) / 2, side, side, {
    resizeWidth: W,
    resizeHeight: H,
    resizeQuality: 'high',
  });
  keep();
  ink.clearRect(0, 0, W, H);
  ink.drawImage(small, 0, 0);
  const ground = isLight(ink.getImageData(0, 0, W, H).data) ? GROUND[C] : 'white';
  ink.globalCompositeOperation = 'destination-over';        // under what is transparent
  fill(ground);
  ink.globalCompositeOperation = 'source-over';
  if (C > 1) return draw();
  const image = ink.getImageData(0, 0, W, H), { data } = image;
  greyed(data, paper);
  ink.putImageData(image, 0, 0);
  draw();
}

/* The bytes of the image, channel by channel. */
function channels() {
  const [C, H, W] = state.shape, { data } = ink.getImageData(0, 0, W, H);
  return planes(data, C, H * W);
}

async function edit() {
  if (!state.shape) return '';        // nothing is shown yet
  const deflated = new Blob([channels()]).stream().pipeThrough(new CompressionStream('deflate'));
  const raw = new Uint8Array(await new Response(deflated).arrayBuffer());
  bring(document.querySelector('#gallery'));
  return `${levels.value}.${base64url(raw)}`;
}

// ---------------------------------------------------------------- what the gallery shows

async function heard(chosen) {
  const before = state.run;
  state.run = chosen;
  if (String(chosen.shape) !== String(state.shape)) shaped(chosen.shape);
  if (!before || before.T !== chosen.T || String(before.a) !== String(chosen.a)) {
    const first = chosen.a.findIndex(a => a >= 0.25); // the layout shows through from about here
    levels.replaceChildren(
      ...chosen.a.map(
        (a, i) =>
          new Option(`${subscript(chosen.T - i)}: signal ${a.toFixed(2)}`, chosen.T - i, i === first, i === first),
      ),
    );
  }
  if (chosen.edit && chosen.edit.image.src !== before?.edit?.image.src) {
    await put(chosen.edit.image);
    levels.value = chosen.edit.t;
  }
  draw();
}

hear('images', heard);

// ---------------------------------------------------------------- input

const at = e => {
  const box = canvas.getBoundingClientRect();
  return [((e.clientX - box.left) / box.width) * pixels.width, ((e.clientY - box.top) / box.height) * pixels.height];
};

canvas.addEventListener('pointerdown', e => {
  if (e.button || state.last) return;
  state.pen = e.pointerId;
  canvas.setPointerCapture(e.pointerId);
  keep();
  state.last = at(e);
  dab(state.last, state.last);
});
canvas.addEventListener('pointermove', e => {
  if (!state.last || e.pointerId !== state.pen) return;
  for (const part of e.getCoalescedEvents?.() ?? [e]) { const to = at(part); dab(state.last, to); state.last = to; }
});
for (const name of ['pointerup', 'pointercancel'])
  canvas.addEventListener(name, e => {
    if (e.pointerId === state.pen) state.last = null;
  });

function undo() {
  if (state.past.length) ink.putImageData(state.past.pop(), 0, 0);
  draw();
}

canvas.addEventListener('keydown', e => {
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
  if (!state.shape) return;
  if (e.key === ' ') {
    keep();
    const [x, y] = state.cursor,
      p = [x + 0.5, y + 0.5];
    dab(p, p);
  } else if (move) {
    state.cursor = state.cursor.map((v, c) => clamp(v + move[c], 0, [pixels.width, pixels.height][c] - 1));
    draw();
  } else return;
  e.preventDefault();
});
/* Of every part of the board, or the gallery would take back something of its own. */
root.addEventListener('keydown', e => {
  if (state.shape && takesBack(e)) { e.preventDefault(); undo(); }
});
canvas.addEventListener('focus', draw);
canvas.addEventListener('blur', draw);

root.addEventListener('click', async e => {
  const { act } = e.target.dataset;
  if (e.target.matches('[type=color]')) take(e.target);         // its colour may be wanted as it is
  if (!state.shape || !act) return;
  if (act === 'undo') undo();
  if (act === 'clear') { keep(); fill(GROUND[state.shape[0]]); draw(); }
  if (act === 'upload') file.click();
  if (act === 'take') {
    const { of, item } = state.run, image = of && gallery().image(of, item);
    if (image) await put(image);
  }
});
root.addEventListener('input', e => {
  if (e.target.matches('[name=paint-colour], [type=color]')) take(e.target);
});

/* The colour of a radio button or of the field for any, which is then the only one chosen. */
function take(chosen) {
  state.colour = chosen.value;
  for (const radio of root.querySelectorAll('[name=paint-colour]')) radio.checked = radio === chosen;
}
file.addEventListener('change', async () => {
  said.textContent = HELP;
  try {
    if (file.files[0]) await put(await createImageBitmap(file.files[0]), true);
  } catch {
    said.textContent = '⚠ This file is not a picture that the browser can read.';
  }
  file.value = '';
});

said.textContent = HELP;
onSize(draw);
if (gallery().run()) heard({ ...gallery().run(), ...gallery().kind() }); // we are mounted when we are first unfolded
root.board = { edit, pixels: () => state.shape && [...channels()] };
