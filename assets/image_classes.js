/* When is the class decided? p(class | x_t) at every state of the chosen sample, as bars in parts: a row for the
training set, one for every model.

Gradio runs it after common.js, for ddgan/ui/image_classes.py.
It asks, through a button that nobody sees, when another sample or another picture is chosen in the gallery
(assets/image_grid.js), and reads props.value, a JSON string, which ddgan/views/image_classes.py makes:
  query, item, of, by   the sample that was asked about: of which request, on its way by which denoiser, and its label
  t, classes            the t of the states, from noise to x_0; the names of the classes
  speaks                null | {before, after, signal}: the states between which the largest principal direction of the
                        training set rises above the noise, and sqrt(alpha_bar) there
  ruler                 what assets/class_ruler.js draws, or null
  rows                  [{key, label, look, note, said, error, wait, reading, p, entropy, decided}]: p null | a list a
                        state, in nats the entropy of each; decided: null | {t, class}; look: its mark on the ruler;
                        said: a sentence below all rows; wait: what is being done as long as there is no p
or {error}; or {query, item, of, exact}: what is new in the row of the training set.
For tests: .classes has data-asked ("item.of", once answered) and data-exact (wait | reading | error |
done). */

const LETTER = 7.4; // css pixels of a letter of 12.5 px, about
const state = { answer: null };
const percent = p => (p > 0.9945 && p < 1 ? '> 99 %' : `${Math.round(100 * p)} %`);

root.innerHTML =
  '<div class="classes-grid"></div><figure class="classes-ruler" hidden></figure><p class="classes-lead"></p>';
root.dataset.ready = '1';
const lead = $('.classes-lead'), grid = $('.classes-grid'), levels = ruler($('.classes-ruler'));

// ---------------------------------------------------------------- asking

/* What the gallery shows now: its sample is asked about once it stays, its state is marked at once. */
const settled = ({ rows }) => rows.every(row => row.p || row.error || row.reading);
const question = questionOf(
  'classes', 150, () => state.answer, answer => answer.rows?.[0].reading && settled(answer),
);
const follow = followGallery(chosen => {
  mark(chosen.t);
  question.choose(chosen);
});

function receive() {
  if (!props.value) return;
  const answer = JSON.parse(props.value);
  if (!answer.error && !question.is(answer)) return;           // the reader is elsewhere already
  if (answer.exact && !question.completes(answer)) return;
  if (answer.exact) Object.assign(state.answer.rows[0], answer.exact); else state.answer = answer;
  root.classList.remove('stale');
  if (!answer.exact?.reading) draw();
  question.wait();
}

// ---------------------------------------------------------------- drawing

function draw() {
  const { answer } = state;
  if (!answer || !root.clientWidth) return;
  grid.replaceChildren(make('h2', '', 'When is the class decided?'));
  if (answer.error) {
    lead.textContent = answer.error;
    levels.show({ ruler: null });
    return Object.assign(root.dataset, { asked: '', exact: 'error' });
  }
  const { t, rows, item, by, speaks } = answer, [exact] = rows;
  grid.style.setProperty('--states', t.length);
  grid.append(...t.map(head));
  for (const row of rows) grid.append(header(row), ...bars(row));
  const ruled = answer.ruler &&
    'The curve is the entropy of the class in nats, on average over training images; the marks are this sample.';
  const direction = speaks &&
    `The largest principal direction of the training set rises above the noise between ${subscript(speaks.before)} ` +
    `and ${subscript(speaks.after)}, where the signal is √ᾱ = ${speaks.signal}.`;
  levels.show(answer);
  lead.replaceChildren(
    make('b', '', `Sample #${item}`),
    [
      ` by ${by}: the classes that each of its states may become. The models are told no class here.`,
      ruled,
      exact.said,
      direction,
    ].filter(Boolean).join(' '),
  );
  mark(document.querySelector('#gallery .gallery')?.gallery?.run()?.t);
  fitNames();
  root.dataset.asked = settled(answer) ? `${item}.${answer.of}` : '';
  root.dataset.exact = exact.reading ? 'reading' : exact.error ? 'error' : exact.p ? 'done' : 'wait';
}

/* The name of a state over its column; it brings the gallery there. */
function head(t) {
  const button = make('button', 'classes-state', subscript(t));
  button.type = 'button';
  button.dataset.t = t;
  button.setAttribute('aria-label', `Show x${t} above`);
  return button;
}

function header({ label, look, note, error, decided, p }) {
  const box = make('div', 'classes-name');
  if (p) box.innerHTML = `<svg viewBox="-6 -6 12 12" aria-hidden="true">${shaped(look)}</svg>`;
  box.append(make('strong', '', label));
  if (p) box.append(make('em', '', decided ? `${decided.class} from ${subscript(decided.t)} on` : 'not decided'));
  box.append(make('span', '', error ? '' : note));
  return box;
}

function bars({ label, p, entropy, error, wait }) {
  const { t, classes } = state.answer;
  if (!p) return [make('p', 'classes-none', error ?? wait)];
  return t.map((at, i) => {
    const bar = make('div', 'classes-bar'), likely = p[i].map((v, k) => [v, k]).sort(([a], [b]) => b - a);
    const told = likely.filter(([v]) => v >= 0.005).slice(0, 4).map(([v, k]) => `${classes[k]} ${percent(v)}`);
    const words = `${label}, ${subscript(at)}: ${told.join(', ')}; entropy ${entropy[i].toFixed(2)} nats`;
    bar.setAttribute('role', 'img');
    bar.setAttribute('aria-label', words);
    bar.title = words;
    p[i].forEach((v, k) => {
      if (v < 0.002) return;
      const part = make('i');
      Object.assign(part.style, { flexGrow: v, ...classLook(k, classes.length) });
      part.dataset.share = v;
      part.dataset.name = classes[k];
      bar.append(part);
    });
    return bar;
  });
}

/* The name of a class stands where there is room for it. */
function fitNames() {
  for (const part of grid.querySelectorAll('.classes-bar i')) {
    const { name: called, share } = part.dataset, room = share * part.parentNode.clientWidth - 4;
    part.textContent = room >= called.length * LETTER ? called : '';
  }
}

function mark(t) {
  for (const button of grid.querySelectorAll('.classes-state'))
    button.setAttribute('aria-current', +button.dataset.t === t ? 'step' : 'false');
}

// ---------------------------------------------------------------- life cycle

grid.addEventListener('click', e => {
  const t = e.target.closest('.classes-state')?.dataset.t;
  if (t !== undefined) gallery().goto(state.answer.t[0] - t);
});
onSize(() => {
  draw();
  follow();
  question.look();   // in another tab meanwhile
}, 640);
root.classes = { idle: question.forget, question: question.question };
watch('value', receive);
receive();
follow();
