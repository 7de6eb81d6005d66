/* The pictures that one has been through, in one line with the browser's history, for stage.js. Nothing here knows the
   page.

An entry of the browser's history holds in its state {picture, undo}: how many changes made the picture that it shows,
and whether the entry before it shows the picture before that. A tab that is chosen makes an entry too (page.js). */

const DRAGGED = ['span', 'eta'];        // what sliders change: a drag of one is one change

/* The names of the parameters in which two queries differ. */
const differing = (...queries) => {
  const [a, b] = queries.map(query => new URLSearchParams(query));
  return [...new Set([...a.keys(), ...b.keys()])].filter(name => a.get(name) !== b.get(name));
};

/* load(query, place) shows the picture of a place that is gone to. In the end it calls moved(place, query), or stay()
   where that failed: the line is as before then, and the browser back at the entry of what is shown. */
function trail(history, load) {
  const queries = [];                   // by their places; of those before a reload the browser's addresses tell
  let place = history.state?.picture ?? 0, aim = place, drag = '';
  const note = (picture, undo) => ({ ...history.state, picture, undo });
  const here = () => history.state?.picture === aim;      // the browser's entry is that of what is shown or comes
  return {
    first(query) {
      queries[place] = query;
      if (!here()) history.replaceState(note(place, false), '');
    },
    /* Another picture, after so many presses of keys and pointers. */
    add(query, press) {
      const names = differing(queries[place] ?? '', query).join(), dragged = DRAGGED.includes(names);
      const same = dragged && drag === names + press && history.state?.picture === place;
      drag = dragged ? names + press : '';
      if (!same) history.pushState(note(place + 1, history.state?.picture === place), '');
      aim = place += !same;
      queries.splice(place, Infinity, query);
    },
    moved(to, query) {
      aim = place = to;
      queries[to] = query;
      drag = '';
      if (!here()) history.replaceState(note(to, false), '');
    },
    stay() {
      const away = place - (history.state?.picture ?? place);
      aim = place;
      if (away) history.go(away);
    },
    /* The browser came to another entry of the page, whose address has the query of its picture, or null. */
    came(query) {
      const to = history.state?.picture ?? aim, wanted = queries[to] ?? query;
      if (to === aim || wanted === null) return;
      aim = to;
      load(wanted, to);
    },
    can: () => aim > 0 && (here() && history.state.undo || queries[aim - 1] !== undefined),
    undo() {
      if (here() && history.state.undo) return history.back();
      if (queries[aim - 1] === undefined) return;
      aim -= 1;
      load(queries[aim], aim);
    },
  };
}
