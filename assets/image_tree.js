/* What may each x_t still become? A tree: a row for each state of the chosen sample, with its six children x_s, and the
x_0 that each child becomes, in the colour of its class.

Gradio runs it after common.js and class_look.js, for ddgan/ui/image_tree.py, when its fold is first opened.
It asks, through a button that nobody sees, while the fold is open and another sample or picture is chosen in the
gallery (assets/image_grid.js), and reads props.value, a JSON string, which ddgan/views/image_tree.py makes:
  query, item, of, by   the sample that was asked about: of which request, on its way by which denoiser, and its label
  t, n, shape, classes  the t of the states, from noise on; how many children each has; [C, H, W]; names of the classes
  x, children, leaves   base64 PNG, a row a state: x_t; the children; their x_0
  likeliest, sure       of every leaf, a list a state: its class, and that class's probability
  words                 a sentence about all of it
or {error}. For tests: .tree has data-asked ("item.of", once answered). */

const SURE = 0.95;                          // from here on no probability is written beside the class
const WIDE = 70, SMALL = 37;                // css pixels of an image with its frame, at most
const state = { answer: null, asked: '', soon: null };
const name = ({ query, item, of }) => `${query} ${item}.${of}`;

root.innerHTML = '<p class="tree-lead" role="status"></p><div class="tree-rows"></div>';
const lead = $('.tree-lead'), rows = $('.tree-rows');

// ---------------------------------------------------------------- asking

const follow = followGallery(chosen => {
  for (const button of rows.querySelectorAll('button'))
    button.setAttribute('aria-current', +button.dataset.t === chosen.t ? 'step' : 'false');
  if (name(chosen) === state.asked) return;
  state.asked = name(chosen);
  root.classList.add('stale');
  if (!state.answer) lead.textContent = 'Drawing six children of every state …';
  clearTimeout(state.soon);
  state.soon = setTimeout(() => document.querySelector('#images-tree')?.click(), 150);
});

/* What was asked has no answer: it may be asked again. */
function idle() {
  root.classList.remove('stale');
  state.asked = '';
}

async function receive() {
  if (!props.value) return;
  const answer = JSON.parse(props.value);
  if (answer.error) {
    rows.replaceChildren();
    lead.textContent = answer.error;
    return root.classList.remove('stale');
  }
  if (state.asked && name(answer) !== state.asked) return;      // the reader is elsewhere already
  const sheets = await Promise.all(['x', 'children', 'leaves'].map(key => gallery().picture(answer[key])));
  if (state.asked && name(answer) !== state.asked) return;
  [answer.x, answer.children, answer.leaves] = sheets;
  state.answer = answer;
  root.classList.remove('stale');
  draw();
}

// ---------------------------------------------------------------- drawing

function draw() {
  const { answer } = state;
  if (!answer || !root.clientWidth) return;
  lead.replaceChildren(make('b', '', `Sample #${answer.item}`), ` by ${answer.by}. ${answer.words}`);
  rows.style.setProperty('--children', answer.n);
  const row = (t, i) => [trunk(t, i), ...answer.likeliest[i].map((_, j) => leaf(t, i, j))];
  rows.replaceChildren(...answer.t.flatMap(row));
  Object.assign(root.dataset, { ready: 1, asked: `${answer.item}.${answer.of}` });
  follow();
}

/* A state of the sample's way; it brings the gallery there. */
function trunk(t, i) {
  const button = make('button', 'tree-state', subscript(t));
  button.type = 'button';
  button.dataset.t = t;
  button.setAttribute('aria-label', `Show x${t} above`);
  button.append(tile('x', i, 0));
  return button;
}

function leaf(t, i, j) {
  const { likeliest, sure, classes } = state.answer, k = likeliest[i][j], p = sure[i][j];
  const box = make('div', 'tree-leaf'), said = make('span', '', classes[k]);
  const percent = `${Math.round(100 * p)} %`, look = classLook(k, classes.length);
  if (p < SURE) said.append(make('em', '', percent));
  Object.assign(said.style, look);
  box.style.setProperty('--class', look.background);
  box.setAttribute('role', 'img');
  box.setAttribute('aria-label', `Child ${j + 1} of ${subscript(t)} becomes ${classes[k]}, ${percent}`);
  if (!root.classList.contains('narrow')) box.append(tile('children', i, j));
  box.append(tile('leaves', i, j), said);
  return box;
}

function tile(sheet, i, j) {
  const canvas = make('canvas', sheet);
  gallery().fit(canvas, state.answer.shape, root.classList.contains('narrow') ? SMALL : WIDE, 1, 1)
    .tile(state.answer[sheet], i, j, 0, 0);
  return canvas;
}

// ---------------------------------------------------------------- life cycle

rows.addEventListener('click', e => {
  const t = e.target.closest('.tree-state')?.dataset.t;
  if (t !== undefined) gallery().goto(state.answer.t[0] - t);
});
onSize(() => { draw(); follow(); }, 1000);
onTheme(draw);
root.tree = { idle };
watch('value', receive);
receive();
