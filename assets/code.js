/* "Copy as code": what the stage or the gallery shows, as code that gives the same arrays. One click opens the menu,
one copies.

Gradio runs it after common.js, for ddgan/ui/exports.py.
props.canvas selects what is shown; its data-id is the query of the request. server.code(JSON) gives the code by kind;
props.kinds are their names (ddgan/views/code.py).

For tests: .code has data-id, the query whose code is there. */

const shown = () => document.querySelector(props.canvas);

root.innerHTML = `
  <button type="button" class="code-open" aria-expanded="false">Copy as code</button>
  <div class="code-menu" role="group" aria-label="Copy as code" hidden>
    ${Object.entries(props.kinds)
      .map(([kind, name]) => `<button type="button" data-kind="${kind}" aria-pressed="false">${name}</button>`)
      .join('')}
    <span class="code-said" role="status"></span>
    <pre tabindex="0" aria-label="The code"></pre>
  </div>`;

const [opener, menu, pre, said] = ['.code-open', '.code-menu', 'pre', '.code-said'].map($);
const state = { code: {}, kind: 'python', latest: 0 };

function show(kind) {
  state.kind = kind;
  pre.textContent = state.code[kind] ?? '';
  for (const button of menu.querySelectorAll('[data-kind]')) {
    button.setAttribute('aria-pressed', button.dataset.kind === kind);
    button.disabled = !state.code[button.dataset.kind];
  }
}

async function ask() {
  const query = shown()?.dataset.id, mine = ++state.latest;
  if (!query) return (said.textContent = 'There is no picture yet.');
  const asked = JSON.stringify({ query, t: 0, address: location.origin + location.pathname });
  const code = await server.code(asked).catch(() => null) ?? { error: 'The server gave no answer.' };
  if (mine !== state.latest) return;
  state.code = code.error ? {} : code;
  // what was said of the same code stays
  if (code.error || query !== root.dataset.id) said.textContent = code.error ?? '';
  show(state.kind);
  root.dataset.id = query;
}

/* Where the page may not write to the clipboard, the code is left selected. */
async function copy() {
  try {
    await navigator.clipboard.writeText(pre.textContent);
  } catch {
    getSelection().selectAllChildren(pre);
    if (!document.execCommand('copy')) return (said.textContent = 'Selected: copy it with the keyboard.');
  }
  said.textContent = `${props.kinds[state.kind]} copied.`;
}

const changes = new MutationObserver(() => { if (shown()?.dataset.id !== root.dataset.id) ask(); });
async function toggle(open) {
  opener.setAttribute('aria-expanded', open);
  menu.hidden = !open;
  changes.disconnect();
  if (!open) return;
  if (shown()) changes.observe(shown(), { attributeFilter: ['data-id'] });
  await ask();
  bring(menu, 'nearest');
}

opener.addEventListener('click', () => toggle(menu.hidden));
menu.addEventListener('click', event => {
  const { kind } = event.target.dataset;
  if (kind) { show(kind); copy(); }
});
root.addEventListener('keydown', event => {
  if (event.key === 'Escape' && !menu.hidden) { toggle(false); opener.focus(); }
});
show(state.kind);
