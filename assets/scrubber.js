/* The deck of the stage and of the gallery: buttons, the level, and a scrubber over signal and noise.
ddgan/ui/canvas.py puts it before their scripts, after common.js; the three share one function. */

const icon = path => `<svg viewBox="0 0 20 20" aria-hidden="true"><path d="${path}"/></svg>`;
const PLAY = icon('M6 3.5v13l11-6.5z'), PAUSE = icon('M5 3.5h3.6v13H5zM11.4 3.5H15v13h-3.6z');
const BACK = icon('M4 3.5h2.4v13H4zM16.5 3.5v13L7.5 10z'), NEXT = icon('M13.6 3.5H16v13h-2.4zM3.5 3.5v13l9-6.5z');

const deckMarkup = (layers, step, { below = '', beside = '' }) => `
  <div class="stage-deck">
    <div class="stage-bar">
      <div class="stage-transport" role="group" aria-label="Playback">
        <button type="button" data-act="back" aria-label="Step back"
          title="Step back, to more noise (←)">${BACK}</button>
        <button type="button" data-act="play" aria-label="Play" title="Play or pause (space)">${PLAY}</button>
        <button type="button" data-act="next" aria-label="Step forward"
          title="Step forward, to less noise (→)">${NEXT}</button>
      </div>${beside}
      <div class="stage-level"></div>
      ${layers}
    </div>
    <div class="stage-scrub">
      <div class="stage-strip">
        <svg preserveAspectRatio="none" aria-hidden="true"></svg>
        <input type="range" min="0" max="1" step="${step}" value="0" aria-label="Denoising step" disabled>
      </div>
      <div class="stage-ticks" aria-hidden="true"></div>
    </div>${below}
  </div>`;

/* Signal and noise over the states of a run, and as many of their labels as there is room for. */
const buildScale = ({ t, a, sigma }) => {
  const strip = $('.stage-strip svg'), ticks = $('.stage-ticks'), last = t.length - 1, x = i => 100 * i / last;
  const curve = values => values.map((v, i) => `${x(i)},${40 - 36 * v}`).join(' ');
  strip.setAttribute('viewBox', '0 0 100 40');
  strip.innerHTML = `<polygon class="signal" points="0,40 ${curve(a)} 100,40"/><polyline class="signal"
    points="${curve(a)}"/>
    <polyline class="noise" points="${curve(sigma)}"/>`;
  const room = ticks.clientWidth / last || 40;
  const every = [1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100].find(k => k * room >= (last > 16 ? 34 : 20)) ?? last;
  ticks.replaceChildren(...t.map((label, i) => {
    const named = i === 0 || ((last - i) % every === 0 && (i * room >= 24 || every === 1));
    const tick = make('span', named ? 'named' : '', named ? subscript(label) : '');
    tick.style.left = x(i) + '%';
    tick.dataset.state = i;
    return tick;
  }));
};

/* State i of a run on the deck; returns it in words. */
const showState = ({ t, T, a, sigma }, i) => {
  const signal = a[i].toFixed(2), noise = sigma[i].toFixed(2);
  const level = $('.stage-level');
  if (!level.firstChild) level.innerHTML = '<b></b><span></span><span></span>';
  [`t = ${t[i]}`, `signal √ᾱ = ${signal}`, `noise σ = ${noise}`].forEach((text, k) => retext(level.children[k], text));
  for (const tick of $('.stage-ticks').children) tick.classList.toggle('now', +tick.dataset.state === i);
  return `${subscript(t[i])}, ${t[i]} of ${counted(T, 'step')} left, signal ${signal}, noise ${noise}`;
};

/* Whether the play button had to turn. */
const showPlaying = playing => {
  if (root.dataset.playing === String(+playing)) return false;
  root.dataset.playing = +playing;
  $('[data-act=play]').innerHTML = playing ? PAUSE : PLAY;
  $('[data-act=play]').setAttribute('aria-label', playing ? 'Pause' : 'Play');
  return true;
};

/* The deck's buttons, labels and keys. state() is null before the first run; goto(i) is at once, seek(i) as a button
does it; choose(way) takes another sample, on the panels; `others` are more keys. */
const drive = ({ state, last, goto, seek = goto, playing, play, pause, panels, choose, others }) => {
  const range = $('input[type=range]'), toggle = () => playing() ? pause() : play();
  root.addEventListener('click', e => {
    const act = e.target.closest('[data-act]')?.dataset.act, tick = e.target.closest('.stage-ticks span');
    if (state() === null) return;
    if (act === 'play') toggle();
    if (act === 'back') seek(state() - 1);
    if (act === 'next') seek(state() + 1);
    if (tick) seek(+tick.dataset.state);
  });
  root.addEventListener('keydown', e => {
    if (state() === null || e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.target.matches('[type=radio]')) return;
    const onRange = e.target === range, by = n => () => goto(state() + n), page = Math.ceil(last() / 8);
    const vertical = way => e.target === panels ? () => choose(way) : onRange ? by(-way) : null;
    obey(e, {
      ArrowRight: by(1),
      ArrowLeft: by(-1),
      ArrowUp: vertical(-1),
      ArrowDown: vertical(1),
      Home: () => goto(0),
      End: () => goto(last()),
      PageUp: onRange ? by(page) : null,
      PageDown: onRange ? by(-page) : null,
      ' ': e.target.matches('button, [type=checkbox]') ? null : toggle,
      ...others(),
    });
  });
};

// ---------------------------------------------------------------- keys of the page

const TYPING = 'textarea, select, [contenteditable], input:not([type=checkbox], [type=radio], [type=range])';
/* Whether a key is the page's, while root is shown: nobody types or chooses, and nothing else has taken it. */
const forPage = e => root.isConnected && root.clientWidth > 0 && !e.defaultPrevented && !e.target.matches?.(TYPING);
