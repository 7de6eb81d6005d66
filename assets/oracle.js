/* The oracle: share of samples on a mode over T, of denoisers that need no training and of a DDGAN, as a curve and as a table.

Gradio runs it after common.js, for ddgan/ui/why.py.
It reads props.value, a JSON string:
  n, steps                          samples per number; the T of the whole table
  series                            [{name, label}]
  rows                              [{T, <name>: {on_mode, modes, of_modes} | null}], the last one perhaps not complete
  now                               null | {run, T, name, s}: what is being computed, in which run

For tests: .oracle has data-rows, data-running and .oracle = {stop}. */

const MARKS = {             // a shape each, so that colour is not needed to tell them apart
  exact: (x, y, r) => `<circle cx="${x}" cy="${y}" r="${r}"/>`,
  gaussian: (x, y, r) => `<rect x="${x - r}" y="${y - r}" width="${2 * r}" height="${2 * r}"/>`,
  mean: (x, y, r) => `<path d="M${x} ${y - 1.2 * r}l${1.2 * r} ${2.1 * r}h${-2.4 * r}z"/>`,
  ddgan: (x, y, r) => `<path d="M${x} ${y - 1.3 * r}l${1.3 * r} ${1.3 * r}l${-1.3 * r} ${1.3 * r}l${-1.3 * r} ${-1.3 * r}z"/>`,
};
const percent = v => (100 * v).toFixed(1) + ' %';

root.innerHTML = `
  <div class="oracle-grid"><figure><figcaption></figcaption><div class="oracle-chart"></div></figure>
  <div class="oracle-table"><table><thead></thead><tbody></tbody></table><p>In brackets: modes found. –: more steps than it was trained for.</p></div></div>
  <p class="oracle-state" role="status"></p><progress max="1" value="0" hidden aria-label="Sampling"></progress>`;

const chart = $('.oracle-chart'), progress = $('progress'), status = $('.oracle-state');
let data = null, stopped = null;                   // the run that was stopped: more of it may still be on its way

const swatch = name => `<svg class="oracle-mark ${name}" viewBox="0 0 28 12" width="28" height="12" aria-hidden="true"><path class="line" d="M0 6h28"/>${MARKS[name](14, 6, 4)}</svg>`;

function show() {
  if (!props.value) return;
  data = JSON.parse(props.value);
  draw();
}

function draw() {
  const { rows, series, steps, now } = data, running = now && now.run !== stopped;
  root.dataset.rows = rows.filter(row => series.every(({ name }) => name in row)).length;
  root.dataset.running = +!!running;
  $('figcaption').innerHTML = series.map(({ name, label }) => `<span>${swatch(name)}${label}</span>`).join('') + '<span>hollow: modes are missing</span>';
  $('thead').innerHTML = `<tr><th scope="col">T</th>${series.map(({ label }) => `<th scope="col">${label}</th>`).join('')}</tr>`;
  $('tbody').innerHTML = steps.map(T => {
    const row = rows.find(row => row.T === T);
    return `<tr><th scope="row">${T}</th>${series.map(({ name }) => `<td>${row?.[name] ? `${percent(row[name].on_mode)} <small>(${row[name].modes})</small>` : row?.[name] === null ? '–' : running && now.T === T && now.name === name ? '…' : ''}</td>`).join('')}</tr>`;
  }).join('');
  const all = sum(steps) * series.length, before = sum(steps.filter(T => now && T < now.T)) * series.length;
  progress.hidden = !running;
  if (running) progress.value = (before + series.findIndex(({ name }) => name === now.name) * now.T + now.T - now.s) / all;
  status.textContent = running ? `Sampling ${data.n.toLocaleString('en')} points at T = ${now.T} …`
    : now ? 'Stopped; the rows so far stay.' : rows.length ? `${data.n.toLocaleString('en')} points per number, seed 0.` : '';
  plot();
}

function plot() {
  const w = chart.clientWidth, h = 250;
  if (!w || !data) return;
  const { rows, series, steps } = data, left = 44, right = 14, top = 12, bottom = 38, last = Math.log2(steps.at(-1));
  const X = T => left + (w - left - right) * Math.log2(T) / last, Y = v => top + (h - top - bottom) * (1 - v);
  const grid = [0, 0.25, 0.5, 0.75, 1].map(v => `<path class="grid" d="M${left} ${Y(v)}H${w - right}"/><text x="${left - 8}" y="${Y(v) + 4}" text-anchor="end">${100 * v} %</text>`);
  const axis = steps.map(T => `<text x="${X(T)}" y="${h - bottom + 20}" text-anchor="middle">${T}</text>`);
  const curves = series.map(({ name, label }) => {
    const seen = rows.filter(row => row[name]);
    const marks = seen.map(row => `<g class="${row[name].modes < row[name].of_modes ? 'hollow' : ''}">${MARKS[name](X(row.T), Y(row[name].on_mode), 4.5)}<title>${label}, T = ${row.T}: ${percent(row[name].on_mode)} on a mode, ${row[name].modes} modes</title></g>`);
    return `<g class="oracle-mark ${name}"><polyline class="line" points="${seen.filter(row => row.T > 1 || row[name].modes !== 1).map(row => `${X(row.T)},${Y(row[name].on_mode)}`).join(' ')}"/>${marks.join('')}</g>`;
  });
  chart.innerHTML = `<svg width="${w}" height="${h}" role="img" aria-label="Share of samples on a mode over the number of steps T; the table has the numbers">
    ${grid.join('')}${axis.join('')}<text x="${left + (w - left - right) / 2}" y="${h - 2}" text-anchor="middle">steps T</text>${curves.join('')}</svg>`;
}

onSize(plot, 760).observe(chart);
root.oracle = { stop: () => { if (data?.now) { stopped = data.now.run; draw(); } } };
watch('value', show);
show();
