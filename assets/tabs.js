/* The row of tabs: the one that the address names, the browser's Back, keys, and on a narrow page a row that scrolls;
   and the link over all of it to the picture.

ddgan/ui/canvas.py puts it before page.js, after common.js. Gradio's row holds every tab (overflow_behavior="wrap");
app.css keeps them in one line, which fades where there are more. For tests: [role=tablist] has data-more, the sides
with more tabs: "start", "end", both or none. */

const asked = new URLSearchParams(location.search);
const TABS = ['Denoise', 'Images', 'Why', 'Train', 'Evidence', 'About'], IMAGES = ['mnist', 'cifar10', 'stackedmnist'];
const FADE = 40;              // px, as in app.css
/* What "Skip to the picture" leads to in each tab. */
const PICTURES_OF = {
  Denoise: '#stage .stage-panels', Images: '#gallery .gallery-panels', Why: '#why .why-grid',
  Train: '#live .live-pictures', Evidence: '#evidence', About: '.about',
};

const row = () => document.querySelector('[role=tablist]');
const buttons = () => [...document.querySelectorAll('[role=tab]')];
const tab = name =>
  buttons()
    .find(button => button.textContent.trim() === name)
    ?.click();
const chosen = () => buttons().find(button => button.getAttribute('aria-selected') === 'true');
const current = () => chosen()?.textContent.trim();
const named = params =>
  TABS.find(name => name.toLowerCase() === params.get('tab')) ?? TABS[+IMAGES.includes(params.get('data'))];
hear('tab', tab);
let followed = null;
function keepTab() {
  const name = current();
  if (!TABS.includes(name)) return;
  bringTab();
  // the browser's Back leads to the tab before, and to the part of it that # names
  if (followed && name !== followed)
    history.pushState({ ...history.state, undo: false }, '', location.pathname + location.search);
  followed = name;
  keepInAddress({ tab: name === TABS[0] ? null : name.toLowerCase() });
}
listen(window, 'popstate', () => {
  followed = named(new URLSearchParams(location.search));
  if (current() !== followed) tab(followed);
});

/* Scroll the row, and not the page, until the chosen tab is clear of the fade. */
function bringTab() {
  const { left, right } = chosen().getBoundingClientRect(), seen = row().getBoundingClientRect();
  const over = Math.min(0, left - FADE - seen.left) || Math.max(0, right + FADE - seen.right);
  if (over) row().scrollBy({ left: over, behavior: reducedMotion.matches ? 'auto' : 'smooth' });
}

function fade() {
  const list = row();
  if (!list) return;
  const before = list.scrollLeft > 1, after = list.scrollLeft + list.clientWidth < list.scrollWidth - 1;
  list.dataset.more = [before && 'start', after && 'end'].filter(Boolean).join(' ');
}
listen(document, 'scroll', e => { if (e.target === row()) fade(); }, { capture: true, passive: true });

/* Arrow keys move the focus along the row; Enter or space chooses. */
listen(document, 'keydown', e => {
  const tabs = buttons(), at = tabs.indexOf(e.target);
  if (at < 0 || e.ctrlKey || e.altKey || e.metaKey) return;
  const to = i => () => tabs.at(i % tabs.length).focus();
  obey(e, { ArrowLeft: to(at - 1), ArrowRight: to(at + 1), Home: to(0), End: to(-1) });
});

/* Gradio builds its tabs in its own time: ask until the wanted one is there, or somebody chooses another; then follow
   what is chosen. */
const wanted = !asked.has('tab') && location.hash.startsWith('#evidence-') ? 'Evidence' : named(asked);
let byHand = false;
listen(document, 'click', e => {
  byHand ||= e.isTrusted && e.target.closest('[role=tab]') !== null;
}, { capture: true });
(async () => {
  for (let tries = 0; tries < 60 && current() !== wanted && !byHand; tries++) {
    tab(wanted);
    await new Promise(done => setTimeout(done, 100));
  }
  if (row()) {
    new MutationObserver(keepTab).observe(row().parentElement, { subtree: true, attributeFilter: ['aria-selected'] });
    observing(new ResizeObserver(fade)).observe(row());
  }
  keepTab();
})();

element.querySelector('.skip-link').addEventListener('click', e => {
  e.preventDefault();                           // the address keeps no #
  const picture = document.querySelector(PICTURES_OF[current()]);
  if (!picture) return;
  if (picture.tabIndex < 0) picture.tabIndex = -1;      // so that it can have the focus
  picture.focus({ preventScroll: true });
  bring(picture);
});
