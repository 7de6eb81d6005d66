/* What may each x_t still become? Two pictures of the chosen sample, each in a fold of its own:
  tree   a row for each of its states, with six children x_s, and the x_0 that each child becomes
  turns  U-turns: its x_0, and a column for each t with what becomes of it where it is noised to x_t and denoised again
Every x_0 has the colour and the name of its class.

Gradio runs it after common.js and class_look.js, for ddgan/ui/image_classes.py, when its fold is first opened.
It asks, through a button that nobody sees, while the fold is open and another sample or picture is chosen in the
gallery (assets/image_grid.js), and reads props.value, a JSON string, which ddgan/views/image_tree.py makes:
  query, item, of, by   the sample that was asked about: of which request, on its way by which denoiser, and its label
  about, words          what is shown, and a sentence about all of it
  start, t, n           the t of the gallery's first state; those of the picture; how many x_0 each of them has
  shape, classes        [C, H, W]; names of the classes
  leaves, x             base64 PNG, a row a t: the x_0; of the tree x_t, of the U-turns the one image itself
  likeliest, sure       of every leaf, a list a t: its class, and that class's probability
  children              of the tree: base64 PNG, the x_s of every leaf
  own, kept             of the U-turns: {likeliest, sure} of the image; a number a t, how many have the image's class
or {error}. For tests: .tree has data-asked ("item.of", once answered). */

const SURE = 0.95;                          // from here on no probability is written beside the class
const WIDE = 70, SMALL = 37;                // css pixels of an image with its frame, at most
const PICTURES_OF = {
  tree: {
    wait: 'Drawing six children of every state …', sheets: ['x', 'leaves', 'children'],
    cells: ({ t, likeliest }) => t.flatMap((at, i) => [trunk(at, i), ...likeliest[i].map((_, j) => leaf(at, i, j))]),
    columns: ({ n }) => n,
    says: (t, j) => `Child ${j + 1} of ${t} becomes`,
  },
  turns: {
    wait: 'Noising the image to every level, and denoising it again …', sheets: ['x', 'leaves'],
    cells: ({ t }) => [image(), ...t.map(turned)],
    columns: ({ t }) => t.length,
    says: (t, j) => `Draw ${j + 1} through ${t} becomes`,
  },
};
const what = root.classList.contains('turns') ? 'turns' : 'tree', mine = PICTURES_OF[what];
const state = { answer: null };

root.innerHTML = '<p class="tree-lead" role="status"></p><div class="tree-cells"></div>';
const lead = $('.tree-lead'), cells = $('.tree-cells');

// ---------------------------------------------------------------- asking

const question = questionOf(what, 150, () => state.answer);
const follow = followGallery(chosen => {
  for (const button of cells.querySelectorAll('button'))
    button.setAttribute('aria-current', +button.dataset.t === chosen.t ? 'step' : 'false');
  if (question.choose(chosen) && !state.answer) lead.textContent = mine.wait;
});

async function receive() {
  if (!props.value) return;
  const answer = JSON.parse(props.value);
  if (answer.error) {
    state.answer = null;                        // another size must not draw it again
    cells.replaceChildren();
    lead.textContent = answer.error;
    return root.classList.remove('stale');
  }
  if (!question.is(answer)) return;             // the reader is elsewhere already
  const sheets = await Promise.all(mine.sheets.map(key => gallery().picture(answer[key])));
  if (!question.is(answer)) return;
  mine.sheets.forEach((key, k) => { answer[key] = sheets[k]; });
  state.answer = answer;
  root.classList.remove('stale');
  draw();
}

// ---------------------------------------------------------------- drawing

function draw() {
  const { answer } = state;
  if (!answer || !root.clientWidth) return;
  lead.replaceChildren(make('b', '', answer.about), ` by ${answer.by}. ${answer.words}`);
  cells.style.setProperty('--columns', mine.columns(answer));
  cells.classList.toggle('many', answer.t.length > 4);
  cells.replaceChildren(...mine.cells(answer));
  Object.assign(root.dataset, { ready: 1, asked: `${answer.item}.${answer.of}` });
  follow();
}

/* A button that brings the gallery to x_t, where it has that state. */
function stateButton(t) {
  const button = make('button', 'tree-state', subscript(t));
  button.type = 'button';
  button.dataset.t = t;
  button.disabled = t > state.answer.start;
  button.setAttribute('aria-label', `Show x${t} above`);
  return button;
}

/* A state of the sample's way. */
function trunk(t, i) {
  const button = stateButton(t);
  button.append(tile('x', i, 0));
  return button;
}

/* An x_0 with its class; with the x_s before it, where that is known and there is room. */
function leaf(t, i, j) {
  const { likeliest, sure, children } = state.answer;
  const box = classed(mine.says(subscript(t), j), tile('leaves', i, j), likeliest[i][j], sure[i][j]);
  if (children && !root.classList.contains('narrow')) box.prepend(tile('children', i, j));
  return box;
}

function classed(says, picture, k, p) {
  const { classes } = state.answer, look = classLook(k, classes.length), percent = `${Math.round(100 * p)} %`;
  const box = make('div', 'tree-leaf'), said = make('span', '', classes[k]);
  if (p < SURE) said.append(make('em', '', percent));
  Object.assign(said.style, look);
  box.style.setProperty('--class', look.background);
  box.setAttribute('role', 'img');
  box.setAttribute('aria-label', `${says} ${classes[k]}, ${percent}`);
  box.title = box.getAttribute('aria-label');
  box.append(picture, said);
  return box;
}

/* The image that is turned. */
function image() {
  const { likeliest, sure } = state.answer.own, box = make('div', 'turns-column');
  box.append(
    make('b', 'tree-state', 'x₀'), make('small', '', 'image'),
    classed('The image itself:', tile('x', 0, 0), likeliest, sure),
  );
  return box;
}

/* The U-turns through x_t, and how many of them keep the class. */
function turned(t, i) {
  const { n, kept } = state.answer, box = make('div', 'turns-column'), draws = make('div', 'turns-draws');
  const bar = make('i'), words = make('span', '', `keeps ${kept[i]}\u00a0of\u00a0${n}`);
  draws.append(...state.answer.likeliest[i].map((_, j) => leaf(t, i, j)));
  bar.style.setProperty('--share', kept[i] / n);
  box.append(stateButton(t), make('small', '', `t = ${t}`), draws, bar, words);
  box.setAttribute('role', 'group');
  box.setAttribute('aria-label', `Through x${t}: keeps the class in ${kept[i]} of ${n}`);
  return box;
}

function tile(sheet, i, j) {
  const canvas = make('canvas', sheet);
  gallery().fit(canvas, state.answer.shape, root.classList.contains('narrow') ? SMALL : WIDE, 1, 1)
    .tile(state.answer[sheet], i, j, 0, 0);
  return canvas;
}

// ---------------------------------------------------------------- life cycle

cells.addEventListener('click', e => {
  const t = e.target.closest('.tree-state')?.dataset.t;
  if (t !== undefined) gallery().goto(state.answer.start - t);
});
onSize(() => { draw(); follow(); }, 1000);
onTheme(draw);
root[what] = { idle: question.forget, question: question.question };
watch('value', receive);
receive();
