// The pure parts of the page's scripts, for tests: they are no modules, Gradio runs them as the body of a function.
import { readFileSync } from 'node:fs';

const read = name => readFileSync(new URL(`../../assets/${name}.js`, import.meta.url), 'utf8');

/* What the scripts declare at their top, run one after the other. common.js needs a page: only its arithmetic is
   taken. */
export function load(...names) {
  const arithmetic = read('common').match(/^const (?:clamp|sum|signed|rgb) = .*$/gm).join('\n');
  const source = [arithmetic, ...names.map(read)].join('\n');
  const declared = [...source.matchAll(/^(?:const|function) (\w+)/gm)].map(found => found[1]);
  return new Function(`${source}\nreturn { ${declared.join(', ')} };`)();
}

/* Whether two numbers are the same but for rounding. */
export const near = (a, b, tolerance = 1e-9) => Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b));
