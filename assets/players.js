/* Whose turn it is, for training.js: an update as two halves, D's and G's, the player that learns being lit; a speed in
   which each half is seen; and a button for an update of either player alone.

ddgan/ui/canvas.py puts it before training.js, after common.js. players(node, pace, drive) fills the node, whose first
child is the diagram of ddgan/ui/diagram.py, and watches the speed. drive(what) asks the server for 'd' or 'g', one
update of that player, or for the speed 'slow' or 'full'. For tests: node has data-turn, as turnOf says it. */

const HALVES = [
  ['D', 'It is shown real pairs and made ones, and learns to tell them apart.'],
  ['G', 'D stands still. Its slope, the arrows, pulls what G draws, and G follows.'],
];

/* Which half is lit: 'd', 'g', 'turns' (one after the other, again and again), 'once' (D's, then G's) or ''. */
function turnOf({ state, players = '' }, playing = false) {
  const alone = players.length === 1;
  if (playing || state === 'training' && !alone) return 'turns';
  if (state !== 'training' && state !== 'paused') return '';
  return alone ? players : players && 'once';
}

const players = (node, pace, drive) => {
  const half = ([name, words]) => {
    const key = name.toLowerCase();
    return `<div class="live-half" data-half="${key}"><p><b>${name}’s half.</b> ${words}</p><button type="button"
      data-step="${key}" disabled>Step ${name}</button></div>`;
  };
  node.insertAdjacentHTML('beforeend', HALVES.map(half).join(''));
  const steps = [...node.querySelectorAll('[data-step]')], speed = pace.querySelector('select');
  for (const button of steps) button.addEventListener('click', () => drive(button.dataset.step));
  speed.addEventListener('change', () => drive(speed.value));
  let run = null, step = null;
  const show = (frame, playing) => {
    const turn = turnOf(frame, playing), live = ['training', 'paused'].includes(frame.state);
    if (turn === 'once' && step !== frame.step) {          // the two halves are played again
      node.dataset.turn = '';
      node.getBoundingClientRect();
    }
    node.dataset.turn = turn;
    node.style.visibility = frame.cloud && !frame.surface ? 'hidden' : '';        // a training without D
    pace.hidden = !live;
    for (const button of steps) button.disabled = frame.state !== 'paused' || !frame.surface;
    if (live && run !== frame.run && speed.value === 'slow') drive('slow');       // a new run begins at full speed
    if (live) run = frame.run;
    step = frame.step;
  };
  return { show };
};
