// Lint of the page's scripts: eslint -c .eslint.config.mjs assets tests/js
// Gradio runs each of assets/ as the body of one function, after the shared scripts (ddgan/ui/canvas.py).
import { readFileSync } from 'node:fs';

const globals = names => Object.fromEntries(names.trim().split(/\s+/).map(name => [name, 'readonly']));
// the names that a shared script declares for those after it
const declaredBy = file =>
  globals(
    (readFileSync(`assets/${file}`, 'utf8').match(/^(?:const|let|(?:async )?function) .*/gm) ?? [])
      .flatMap(line => line.match(/[$\w]+(?= = )|(?<=^(?:async )?function )\w+/g) ?? [])
      .join(' '),
  );
const browser = globals(`
  AbortController Blob CompressionStream CustomEvent Image ImageData IntersectionObserver KeyboardEvent
  MouseEvent MutationObserver Option ResizeObserver Response TextDecoder URL URLSearchParams addEventListener atob btoa
  clearInterval clearTimeout createImageBitmap crypto devicePixelRatio document fetch getComputedStyle getSelection
  history innerHeight
  location matchMedia navigator performance requestAnimationFrame setInterval setTimeout window`);
const gradio = globals('element trigger props server upload watch LOOKS PICTURES');

const rules = {
  'array-callback-return': 'error',
  'constructor-super': 'error',
  'eqeqeq': ['error', 'always', { null: 'ignore' }],
  'for-direction': 'error',
  'getter-return': 'error',
  'no-async-promise-executor': 'error',
  'no-case-declarations': 'error',
  'no-compare-neg-zero': 'error',
  'no-cond-assign': ['error', 'except-parens'],
  'no-const-assign': 'error',
  'no-constant-binary-expression': 'error',
  'no-constant-condition': 'error',
  'no-debugger': 'error',
  'no-dupe-args': 'error',
  'no-dupe-else-if': 'error',
  'no-dupe-keys': 'error',
  'no-duplicate-case': 'error',
  'no-empty': 'error',
  'no-fallthrough': 'error',
  'no-func-assign': 'error',
  'no-loss-of-precision': 'error',
  'no-redeclare': 'error',
  'no-self-assign': 'error',
  'no-self-compare': 'error',
  'no-sparse-arrays': 'error',
  'no-undef': 'error',
  'max-lines-per-function': ['error', { max: 60, skipComments: false, IIFEs: false }],
  'no-unreachable': 'error',
  'no-unsafe-negation': 'error',
  'no-unsafe-optional-chaining': 'error',
  'no-unused-vars': ['error', { args: 'after-used', caughtErrors: 'none', ignoreRestSiblings: true }],
  'no-useless-escape': 'error',
  'no-var': 'error',
  'prefer-const': ['error', { destructuring: 'all' }],
  'use-isnan': 'error',
  'valid-typeof': 'error',
};

// the scripts that others are run after, as _SHARED of ddgan/ui/canvas.py has them
const shared = [
  'common.js', 'pictures.js', 'scrubber.js', 'motion.js', 'machine.js', 'laws.js', 'pixels.js', 'landscape.js',
  'replay.js', 'panel.js', 'trail.js', 'curve.js', 'field.js',
  'tabs.js', 'players.js', 'class_look.js', 'class_ruler.js',
];
const own = {
  pictures: ['stage', 'field', 'posterior', 'why', 'training'], scrubber: ['stage', 'curve', 'image_grid'],
  motion: ['stage', 'panel'], machine: ['stage', 'image_step'], trail: ['stage'], curve: ['stage'],
  field: ['stage', 'panel'],
  panel: ['stage'], stage: ['panel', 'field'], laws: ['why'], pixels: ['paint', 'panel'], landscape: ['posterior'],
  replay: ['training'], tabs: ['page'], players: ['training'], class_look: ['image_classes', 'image_tree'],
  class_ruler: ['image_classes'],
};
export default [
  {
    files: ['assets/*.js'],
    // a script may return: it is the body of a function
    languageOptions: { ecmaVersion: 2024, sourceType: 'commonjs', globals: { ...browser, ...gradio } },
    rules,
  },
  { files: shared.map(file => `assets/${file}`), rules: { 'no-unused-vars': 'off' } },
  { files: ['assets/*.js'], ignores: ['assets/common.js'], languageOptions: { globals: declaredBy('common.js') } },
  ...Object.entries(own).map(([part, names]) => ({
    files: names.map(name => `assets/${name}.js`),
    languageOptions: { globals: declaredBy(`${part}.js`) },
  })),
  { files: ['tests/js/*.mjs'], languageOptions: { ecmaVersion: 2024, globals: globals('console URL') }, rules },
];
