import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './scripts.mjs';

const { trail, differing } = load('trail');

/* A browser's history, and a page on it whose pictures come at once, unless `refuses` says otherwise. */
function page() {
  const entries = [null];
  let at = 0;
  const shown = { query: null, refuses: new Set() };
  const go = by => {
    if (at + by < 0 || at + by >= entries.length) { shown.left = true; return; }
    at += by;
    shown.line.came(null);
  };
  const history = {
    get state() { return entries[at]; },
    pushState: state => { entries.splice(++at, Infinity, state); },
    replaceState: state => { entries[at] = state; },
    back: () => go(-1), forward: () => go(1), go,
  };
  shown.history = history;
  shown.line = trail(history, (query, place) => {
    if (shown.refuses.has(query)) return shown.line.stay();
    shown.query = query;
    shown.line.moved(place, query);
  });
  shown.change = (query, press = {}) => {
    if (shown.query === null) shown.line.first(query);
    else shown.line.add(query, press.n ?? ++shown.presses);
    shown.query = query;
  };
  shown.presses = 0;
  shown.chooseTab = () => history.pushState({ ...history.state, undo: false });
  return shown;
}

test('Back leads through every picture, Forward again to the last, and Back from the first leaves', () => {
  const p = page();
  const queries = ['T=4', 'T=8', 'T=8&seed=1', 'T=2&seed=1'];
  for (const query of queries) p.change(query);
  for (const query of queries.slice(0, -1).reverse()) { p.history.back(); assert.equal(p.query, query); }
  assert.ok(!p.line.can() && !p.left);
  p.history.back();
  assert.ok(p.left);
  for (const query of queries.slice(1)) { p.history.forward(); assert.equal(p.query, query); }
});

test('Undo is the same as Back, also after a tab was chosen, and a change after it forgets what was undone', () => {
  const p = page();
  for (const query of ['a=1', 'a=2', 'a=3']) p.change(query);
  p.line.undo();
  assert.equal(p.query, 'a=2');
  p.chooseTab();
  p.line.undo();
  assert.equal(p.query, 'a=1');
  assert.ok(!p.line.can());
  p.change('a=4');
  p.history.forward();
  assert.equal(p.query, 'a=4');
  p.line.undo();
  assert.equal(p.query, 'a=1');
});

test('a drag of a slider is one change, two drags are two, and two presses of a button are two', () => {
  const p = page();
  p.change('seed=0');
  for (const eta of [0.1, 0.2, 0.3]) p.change(`seed=0&eta=${eta}`, { n: 7 });
  for (const eta of [0.4, 0.5]) p.change(`seed=0&eta=${eta}`, { n: 8 });
  p.change('seed=1&eta=0.5', { n: 9 });
  p.change('seed=2&eta=0.5', { n: 9 });
  for (const query of ['seed=1&eta=0.5', 'seed=0&eta=0.5', 'seed=0&eta=0.3', 'seed=0']) {
    p.line.undo();
    assert.equal(p.query, query);
  }
  assert.ok(!p.line.can());
});

test('an Undo that fails keeps its entry and what is shown', () => {
  const p = page();
  for (const query of ['a=1', 'a=2', 'a=3']) p.change(query);
  p.refuses.add('a=2');
  for (const way of [p.line.undo, p.history.back]) {
    way();
    assert.equal(p.query, 'a=3');
    assert.equal(p.history.state.picture, 2);
    assert.ok(p.line.can());
  }
  p.refuses.clear();
  for (const query of ['a=2', 'a=1']) { p.line.undo(); assert.equal(p.query, query); }
});

test('queries differ in the parameters that only one has or that have another value', () => {
  assert.deepEqual(differing('a=1&b=2', 'b=3&a=1&c=4'), ['b', 'c']);
});
