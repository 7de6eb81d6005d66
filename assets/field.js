/* Where a point at each place of a panel goes in the step that leaves the state, on average: arrows, for stage.js.

ddgan/ui/canvas.py puts it before stage.js, which has the `state` that is read here, after common.js and pictures.js.
The picture `field` of a query and a step (ddgan/views/field.py) has
  t, size, scale                   the step; places along an axis, the centres of as many cells; int16 * scale = data
                                   units
  panels                           [{key, error, moves: int16 (size ^ dim, dim)}], the last coordinate fastest
An answer is asked for when its state is shown, and kept as long as the picture is of the same steps. */

const fields = { of: '', known: new Map(), asking: false };
const MOST_STATES = 9;        // of a film with more states, fields come when it rests

async function findField() {
  if (!state.layers.field || fields.asking) return;
  const { data } = state, t = data.t[current()], of = but(data.id, 'seed', 'n', 'forks');
  if (of !== fields.of) Object.assign(fields, { of, known: new Map() });
  const { known } = fields;
  if (!t || known.has(t) || playing() && data.F > MOST_STATES) return;
  fields.asking = true;
  try {
    known.set(t, await picture('field', `${of}&step=${t}`, { signal: gone.signal }));
    root.dataset.field = t;
  } catch {
    known.set(t, null);       // the panels say why a denoiser refuses
  }
  fields.asking = false;
  invalidate();               // by now another one may be wanted
}

/* All arrows of a field are shortened alike, so that hardly any reaches beyond its cell. */
function shortened({ panels, size, scale }, { dim, limit }) {
  const lengths = panels.flatMap(({ moves }) => moves
    ? Array.from({ length: moves.length / dim }, (_, k) => Math.hypot(...moves.subarray(k * dim, (k + 1) * dim)))
    : []).sort((a, b) => a - b);
  const long = scale * lengths[Math.floor(0.95 * (lengths.length - 1))];
  return long ? Math.min(1, 1.8 * limit / size / long) : 1;
}

function drawField(view) {
  const { data, at, theme } = state, near = Math.round(at), found = fields.known.get(data.t[near]),
    { moves } = found?.panels.find(({ key }) => key === view.panel.key) ?? {}, seen = 1 - 2 * Math.abs(at - near);
  if (!moves || seen <= 0) return;
  found.shrink ??= shortened(found, data);
  const { ctx, w, h } = view, { size, scale } = found, { dim, limit } = data,
    unit = w / (2 * limit), long = unit * scale * found.shrink, centre = i => (i + 0.5) / size * w;
  const shafts = Array.from({ length: moves.length / dim }, (_, k) => {
    const [x, y] = dim === 2 ? [centre(Math.floor(k / size)), h - centre(k % size)] : [centre(k), 0.64 * h + 8];
    return [x, y, x + long * moves[k * dim], dim === 2 ? y - long * moves[k * dim + 1] : y];
  });
  ctx.beginPath();
  for (const [x, y, u, v] of shafts) {
    const length = Math.hypot(u - x, v - y), head = Math.min(4, 0.45 * length), turn = Math.atan2(v - y, u - x);
    ctx.moveTo(x, y);
    ctx.lineTo(u, v);
    for (const side of [-0.5, 0.5]) {
      ctx.moveTo(u, v);
      ctx.lineTo(u - head * Math.cos(turn + side), v - head * Math.sin(turn + side));
    }
  }
  Object.assign(ctx, { lineCap: 'round', lineJoin: 'round' });
  for (const [colour, width, alpha] of [[theme.paper, 3.4, 0.75], [theme.ink, 1.3, 0.95]]) {
    Object.assign(ctx, { strokeStyle: colour, lineWidth: width, globalAlpha: alpha * seen });
    ctx.stroke();
  }
  Object.assign(ctx, { lineCap: 'butt', globalAlpha: 1 });
}
