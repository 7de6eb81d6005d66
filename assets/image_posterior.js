/* The posterior explorer of images: what could one x_t have been? Redraws of every denoiser beside the training set.

Gradio runs it after common.js, for ddgan/ui/images.py.
It asks, through a button that nobody sees, whenever the gallery (assets/image_grid.js) says what is chosen, and reads
props.value, a JSON string, which ddgan/views/image_posterior.py makes:
  query, step, item, of, shape, x   the question; x_t as a PNG. All pictures are PNG, base64
  by                                the label of the denoiser `of`
  panels                            [{key, label, also, error, n, images, mean, std, spread}], one for each model: n
                                    redraws side by side, their mean, standard deviation (in colours) and its root mean
                                    square over the pixels; also: the labels of others that walk with this model
  truth                             null while it is computed | {reading} | {error} | the same, of the n likeliest
                                    images,
                                    {of, mirrored, effective, weights}: of how many, whether half of those are mirror
                                    images,
                                    exp(entropy) of the posterior, their weights
or {query, step, item, of, truth} alone.
For tests: .explorer has data-asked ("step.item.of", once answered) and data-truth (wait | reading | error | done). */

const state = { answer: null, latest: null };
const percent = w => w < 0.0001 ? '< 0.01 %' : `${(100 * w).toFixed(w >= 0.0995 ? 0 : w >= 0.001 ? 1 : 2)} %`;

root.innerHTML =
  '<h2>What could this x<sub>t</sub> have been?</h2><p class="explorer-lead"></p>' +
  '<div class="explorer-cells"></div><p class="explorer-lead"></p>';
const heading = $('h2'), [lead, missing] = root.querySelectorAll('.explorer-lead'), cells = $('.explorer-cells');

const question = questionOf(
  'explore', 0, () => state.answer, answer => answer.truth?.reading,
  ({ query, step, item, of }) => `${query} ${step}.${item}.${of}`,
);

async function receive() {
  if (!props.value) return;
  const answer = JSON.parse(props.value);
  if (answer.error) { lead.textContent = `⚠ ${answer.error}`; return question.forget(); }
  if (!question.is(answer)) return;                                // the reader is elsewhere already
  if (!answer.panels && !question.completes(answer)) return;
  const mine = state.latest = answer;
  await load(answer);
  if (mine !== state.latest) return;                               // one that came later was there first
  state.answer = answer.panels ? answer : { ...state.answer, truth: answer.truth };
  if (answer.panels || !answer.truth.reading) draw();
  question.wait();
}

async function load(answer) {
  const parts = [answer, ...(answer.panels ?? []), answer.truth ?? {}];
  await Promise.all(
    parts.flatMap(part =>
      ['x', 'images', 'mean', 'std']
        .filter(key => typeof part[key] === 'string')
        .map(async key => {
          part[key] = await gallery().picture(part[key]);
        }),
    ),
  );
}

function draw() {
  const { answer } = state;
  if (!answer || !root.clientWidth) return;
  const { truth, panels, step, by } = answer, x = subscript(step);
  heading.textContent = `What could ${x} of sample #${answer.item} have been?`;
  lead.textContent =
    `One and the same ${x} (that of ${by}), and what x₀ it may come from. Choose a sample and a step above.`;
  cells.replaceChildren();
  const given = cell(x, 'what is given'), legend = make('p', 'posterior-legend');
  tiles(given, `${x} of sample ${answer.item}`, { sheet: answer.x });
  legend.innerHTML = '<span>standard deviation 0</span><i></i><span>1</span>';
  given.append(legend);
  cells.append(given);
  missing.textContent = truth?.error ?? '';
  if (!truth?.error) cells.append(truthCell(truth));
  for (const panel of panels) cells.append(panelCell(panel));
  for (const canvas of cells.querySelectorAll('canvas')) paint(canvas);
  Object.assign(root.dataset, {
    asked: `${step}.${answer.item}.${answer.of}`,
    truth: !truth ? 'wait' : truth.reading ? 'reading' : truth.error ? 'error' : 'done',
  });
  root.classList.remove('stale');
}

function cell(title, text) {
  const figure = make('figure', 'explorer-cell'), caption = make('figcaption');
  caption.append(make('strong', '', title), make('span', '', text));
  figure.append(caption);
  return figure;
}

/* A canvas of `n` tiles of a sheet, to be painted once it has a place: `room` is a share of its cell's width. */
function tiles(parent, label, job) {
  const canvas = Object.assign(make('canvas'), { job });
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', label);
  parent.append(canvas);
}

function paint(canvas) {
  const { sheet, n = 1, columns = 1, room = 1, from = 0 } = canvas.job,
    [, H, W] = state.answer.shape,
    width = canvas.closest('.explorer-cell').clientWidth;
  const on = gallery().fit(canvas, [1, H, W], width * room, columns, Math.ceil(n / columns));
  for (let j = 0; j < n; j++) on.tile(sheet, 0, from + j, j % columns, Math.floor(j / columns));
}

function summary(figure, { mean, std, spread }) {
  const pair = make('div', 'explorer-pair');
  for (const [sheet, text] of [[mean, 'mean'], [std, `standard deviation, ${spread.toFixed(2)}`]]) {
    const part = make('div');
    part.append(make('span', '', text));
    tiles(part, text, { sheet, room: 0.5 });
    pair.append(part);
  }
  figure.append(pair);
}

const ofClass = name => (name == null ? '' : name === 'any' ? ', of any class' : `, of class ${name}`);

function panelCell(panel) {
  const few = panel.n === 1, redraws = `${panel.n} redraws of z${ofClass(panel.class)}`;
  const figure = cell(panel.label, panel.error ? '' : few ? 'has no z: a single answer, the mean of all' : redraws);
  if (panel.also.length)
    figure.append(make('span', 'explorer-also', `the same for ${panel.also.join('; ')}, as they ask the same model`));
  if (panel.error) { figure.append(make('p', 'gallery-error', panel.error)); return figure; }
  summary(figure, panel);
  if (!few) {
    figure.append(make('span', '', `the ${panel.n} predicted x₀`));
    tiles(figure, `${panel.n} predictions of ${panel.label}`, { sheet: panel.images, n: panel.n, columns: 4 });
  }
  return figure;
}

function truthCell(truth) {
  const ready = truth && !truth.reading;
  const figure = cell(
    'Training set',
    ready
      ? `the exact posterior over the ${truth.of.toLocaleString('en')} images that training draws from` +
        (truth.mirrored ? ', half of them mirror images' : '')
      : '',
  );
  if (!ready) {
    figure.append(
      make('p', 'gallery-error', truth ? 'The training set is being read …' : 'Comparing with every image …'),
    );
    return figure;
  }
  summary(figure, truth);
  const effective =
    truth.effective < 9.95 ? truth.effective.toFixed(1) : Math.round(truth.effective).toLocaleString('en');
  const count = make('span');
  count.innerHTML = `effectively <b>${effective}</b> candidate${effective === '1.0' ? '' : 's'}; the likeliest:`;
  const list = make('div', 'explorer-likeliest');
  truth.weights.forEach((w, j) => {
    const item = make('div');
    tiles(item, `candidate ${j + 1}`, { sheet: truth.images, room: 1 / 3, from: j });
    item.append(make('span', '', percent(w)));
    list.append(item);
  });
  figure.append(count, list);
  if (truth.effective < 1.5)
    figure.append(
      make(
        'span',
        '',
        "One image takes all the weight. Where xₜ was not made from it, it is only the nearest one, and need not " +
          "look like the models' answers.",
      ),
    );
  return figure;
}

hear('images', chosen => {
  if (chosen.of) question.choose(chosen);
});
onSize(() => {
  draw();
  question.look();   // in another tab meanwhile
});
root.explorer = { idle: question.forget, question: question.question };
watch('value', receive);
receive();
