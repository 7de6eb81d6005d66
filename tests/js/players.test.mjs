import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './scripts.mjs';

const { turnOf } = load('players');

test('the player of an update alone is lit, of a whole update both in turn', () => {
  assert.equal(turnOf({ state: 'paused', players: 'd' }), 'd');
  assert.equal(turnOf({ state: 'training', players: 'g' }), 'g');
  assert.equal(turnOf({ state: 'paused', players: 'dg' }), 'once');
  assert.equal(turnOf({ state: 'training', players: 'dg' }), 'turns');
});

test('nobody is lit before the first update, after the last one, and while a film stands', () => {
  assert.equal(turnOf({ state: 'paused', players: '' }), '');
  for (const state of ['waiting', 'done', 'stopped', 'failed']) assert.equal(turnOf({ state, players: 'dg' }), '');
  assert.equal(turnOf({ state: 'recorded' }), '');
  assert.equal(turnOf({ state: 'recorded' }, true), 'turns');
});
