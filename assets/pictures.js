/* What the canvases of points show, from our own server: GET, binary, kept by the browser
(ddgan/ui/server/pictures.py). ddgan/ui/canvas.py puts it before the scripts that ask, after common.js. PICTURES is
where they are, under the version of code and weights. */

const LONG = 6000;            // characters of an address that every proxy passes
const MAX_PAUSE = 8000;       // ms between two attempts

const visitor = document.visitor ??= [...crypto.getRandomValues(new Uint8Array(9))].map(v => v.toString(36)).join('-');

/* A query without some of its parameters. */
const but = (query, ...names) => {
  const rest = new URLSearchParams(query);
  for (const name of names) rest.delete(name);
  return rest.toString();
};

/* The JSON header of an answer, with its arrays in it: `packed` of ddgan/views/encoding.py. */
const unpacked = buffer => {
  const length = new DataView(buffer).getUint32(0, true), start = 4 + length;
  const TYPES = { int8: Int8Array, uint8: Uint8Array, int16: Int16Array, float64: Float64Array };
  return JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)), (_, value) => {
    if (!value?.$) return value;
    const [type, at, count] = value.$;
    return new TYPES[type](buffer, start + at, count);
  });
};

const after = (ms, signal) => new Promise((done, failed) => {
  const later = setTimeout(done, ms);
  addEventListener('online', done, { once: true, signal });
  signal?.addEventListener('abort', () => { clearTimeout(later); failed(signal.reason); });
});

/* The picture of a kind that a query asks for. A busy server or one that is out of reach is asked again, and `waiting`
   hears the words for it. Rejects where it is refused, with the sentence, or was aborted. What is asked when `idle` is
   for later: it gives way to all else, null then, and is not asked again. */
async function picture(kind, query, { signal, idle = false, waiting = () => {} } = {}) {
  const url = `${PICTURES}/${kind}?${query}`, headers = { 'X-Visitor': visitor, ...(idle && { 'X-Idle': '1' }) };
  const posted = {
    method: 'POST',
    headers: { ...headers, 'Content-Type': 'application/json' },
    body: JSON.stringify({ query }),
    signal,
  };
  for (let ms = 500; ; ms = Math.min(2 * ms, MAX_PAUSE)) {
    let answer = null;
    try {
      answer = url.length > LONG ? await fetch(`${PICTURES}/${kind}`, posted) : await fetch(url, { headers, signal });
      if (answer.status === 204) return null;        // the server has others to serve first
      if (answer.ok) return unpacked(await answer.arrayBuffer());
    } catch (error) {
      if (signal?.aborted || idle) throw error;
      answer = null;
    }
    if (answer && ![429, 502, 503, 504].includes(answer.status)) {
      const said = await answer.json().catch(() => ({}));
      throw Object.assign(new Error(said.detail ?? `The server answered ${answer.status}.`), { words: said.words });
    }
    if (idle) return null;
    waiting(
      answer?.status === 429
        ? 'Many are here: your picture comes as soon as it is its turn.'
        : 'The server does not answer. What you see is of before; it is asked again.',
    );
    await after(answer?.status === 429 ? 1000 * (answer.headers.get('Retry-After') || 1) : ms, signal);
  }
}
