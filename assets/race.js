/* The race: quality against evaluations for every method, as a figure of plotly's, as a table and in words.

Gradio runs it after common.js, for ddgan/ui/race.py.
props.first, a JSON string: {choice: [data, schedule, measure] at first, plotly: the version of plotly.js}.
document.race is the choice of now, once a link or a control has made one.
props.value, a JSON string, while a run goes on:
  run, data, schedule               which run, and of what
  entries, share, words             how many numbers there are, which part of the work is done, what is being computed
  over                              whether it is at its end
server.figure([data, schedule, measure]) answers with JSON of ddgan/views/race.py, what there is of a race now:
`entries` counts what was computed here, `shown` that and what is shipped, `source` says where the latter comes from.
One question is under way at a time. plotly.js comes from our own server, once a run begins or what is to be drawn is
nearly in sight.

For tests: .race has data-drawn, the choice that was answered, data-entries, data-shown, data-running and .race =
{choose, begin, stop}; .race-plot is plotly's graph. */

const CALM = 500, NARROW = 720;          // ms from one figure of a run to the next; px under which the key stands below
const NEAR = '300px';                    // how far out of sight a figure is drawn

root.innerHTML = `
  <p class="race-state" role="status"></p><progress max="1" value="0" hidden aria-label="Computing"></progress>
  <p class="race-source"></p>
  <div class="race-plot" role="group"></div>
  <p class="race-empty">Nothing has been computed of this race yet. The button <b>Race</b> starts it. The first numbers,
    those of few steps, come within a second. All of them take some ten seconds; where the data are many small
    Gaussians, a minute.</p>
  <div class="race-words"></div>
  <details class="race-numbers" hidden><summary>The numbers as a table</summary>
    <div class="race-table" tabindex="0" role="region"
      aria-label="Numbers of the race"><table></table></div></details>`;

const first = JSON.parse(props.first);
const plot = $('.race-plot'), progress = $('progress'), status = $('.race-state'), numbers = $('.race-numbers');
const state = {
  choice: document.race ?? first.choice,
  now: null,                             // what was heard of the run
  begun: false, stopped: null,           // a run has been asked for; the run that was stopped: more of it may come
  answer: null, asked: '', asking: false, again: false,
  near: false,                           // the figure has been in sight, or nearly
};

// ---------------------------------------------------------------- asking

const running = () => state.begun && !state.now?.over;

async function ask() {
  state.again = true;
  if (state.asking || !root.clientWidth) return;
  state.asking = true;
  while (state.again && root.isConnected) {
    state.again = false;
    const choice = state.asked = state.choice.join();
    const answer = await server.figure(state.choice).catch(() => null);
    if (choice !== state.choice.join()) continue;
    if (answer) await take(JSON.parse(answer), choice);
    else status.textContent = 'The server gave no answer: please try again.';
    if (running()) await new Promise(done => setTimeout(done, CALM));
  }
  state.asking = false;
}

async function take(answer, choice) {
  state.answer = answer;
  try {
    await draw();
  } catch (error) {
    status.textContent = `The figure could not be drawn: ${error.message}.`;
  }
  Object.assign(root.dataset, { drawn: choice, entries: answer.entries, shown: answer.shown });
}

// ---------------------------------------------------------------- drawing

async function draw() {
  const { answer } = state, some = Boolean(answer?.shown);
  $('.race-empty').hidden = some || running();
  $('.race-source').textContent = answer?.source ?? '';
  plot.hidden = numbers.hidden = !some;
  $('.race-words').replaceChildren(...(answer?.words ?? []).map(text => make('p', '', text)));
  if (!some) return;
  tabulate(answer.table);
  if (!state.near && !running()) return;
  const { data, layout } = answer.figure, Plotly = await plotly(first.plotly), width = root.clientWidth;
  if (answer !== state.answer || !width) return;
  const said = layout.annotations[0].text.replace('<br>', '; ');
  plot.setAttribute('aria-label', `${said}. The table below has its numbers.`);
  await Plotly.react(plot, data, { ...layout, ...shape(layout, width) }, {
    displayModeBar: true,
    displaylogo: false,
    modeBarButtons: [['zoom2d', 'pan2d', 'resetScale2d', 'toImage']],
    toImageButtonOptions: { format: 'png', scale: 2, filename: `ddgan-race-${state.choice.join('-')}` },
  });
}

/* What depends on the room: on a phone the key stands below, and a finger scrolls the page. */
function shape(layout, width) {
  const dragmode = matchMedia('(pointer: coarse)').matches ? false : 'zoom';
  if (width >= NARROW) return { width, dragmode };
  const { legend, margin, yaxis } = layout;
  return {
    width,
    dragmode,
    height: 740,
    margin: { ...margin, l: 52 },
    legend: { ...legend, orientation: 'h', x: 0, xanchor: 'left', y: -0.14, yanchor: 'top' },
    yaxis: { ...yaxis, title: { ...yaxis.title, standoff: 2 } },
  };
}

function tabulate([head, ...rows]) {
  const body = rows.map(([group, name, ...cells], i) => {
    const first = rows[i - 1]?.[0] !== group;
    const title = first ? `<tr><th scope="rowgroup" colspan="${head.length - 1}">${group}</th></tr>` : '';
    return `${title}<tr><th scope="row">${name}</th>${cells.map(cell => `<td>${cell}</td>`).join('')}</tr>`;
  });
  numbers.querySelector('table').innerHTML =
    `<thead><tr><td></td>${head.slice(2).map(T => `<th scope="col">${T}</th>`).join('')}</tr></thead>` +
    `<tbody>${body.join('')}</tbody>`;
}

// ---------------------------------------------------------------- a run

function heard() {
  if (!props.value) return;
  const now = JSON.parse(props.value), entries = state.now?.entries;
  if (now.run === state.stopped || !state.begun) return;
  state.now = now;
  describe();
  if (now.entries !== entries && [now.data, now.schedule].join() === state.choice.slice(0, 2).join()) ask();
}

function describe() {
  const { now } = state;
  root.dataset.running = +running();
  progress.hidden = !running();
  progress.value = now?.share ?? 0;
  const stopped = now && !now.over ? 'Stopped; what was computed stays, and Race goes on from there.' : '';
  status.textContent = running() ? now?.words ?? 'Starting …' : stopped;
  $('.race-empty').hidden = Boolean(state.answer?.shown) || running();
  for (const [name, off] of [['run', running()], ['stop', !running()]]) {
    const button = document.querySelector(`#race-${name}`);
    if (button) button.disabled = off;               // it may come to the page after this
  }
}

root.race = {
  choose: values => {
    state.choice = values;
    if (!running()) state.now = null;                // the words of a stop are those of another race
    describe();
    keepInAddress({ race: values.join() === first.choice.join() ? null : values });
    ask();
  },
  begin: () => {
    if (running()) return;
    Object.assign(state, { begun: true, now: null });
    describe();
    plotly(first.plotly).catch(() => {});            // whoever draws will say so
  },
  stop: () => {
    if (!running()) return;
    Object.assign(state, { begun: false, stopped: state.now?.run ?? null });
    describe();
    ask();
  },
};

onSize(() => {
  if (!root.clientWidth) return;
  if (state.asked !== state.choice.join()) ask();
  else if (state.answer && plot.layout?.width !== root.clientWidth) draw();
}, NARROW);
const nearing = observing(new IntersectionObserver(found => {
  if (!found.some(({ isIntersecting }) => isIntersecting)) return;
  state.near = true;
  nearing.disconnect();
  if (state.answer) draw();
}, { rootMargin: NEAR }));
nearing.observe(plot);
onPaper(plot, () => !plot.data);   // a blank
watch('value', heard);
describe();
