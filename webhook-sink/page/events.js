// The table of recent events: what is new is put on top, what is too much leaves at the end.

import * as filters from "./filters.js";
import { byId, duration, instant, make, put, text, time } from "./text.js";

const ROWS = 50;
const OPS = { u: "updated", d: "deleted", r: "backfilled" };

let lastSeq = 0;
let stale = true;
let paused = false;

export function begin(ask) {
  filters.begin(() => {
    stale = true;
    // Shown at once, also while paused: somebody asked for it. That there is no answer is told by the next look.
    refresh(ask).catch(() => {});
  });
  byId("pause").addEventListener("click", () => {
    paused = !paused;
    byId("pause").setAttribute("aria-pressed", String(paused));
    put("pause", paused ? "Resume" : "Pause");
  });
  byId("close").addEventListener("click", () => byId("details").close());
  byId("details").addEventListener("click", (event) => {
    if (event.target === byId("details")) byId("details").close();
  });
}

/** Another store: begin again. */
export function forget() {
  lastSeq = 0;
  stale = true;
}

let now = 0;
let total = 0;
let asking = false;

/** Asks for what is new, where there is any. */
export async function update(ask, live) {
  now = live.now_ms;
  total = live.total_events;
  dropOld();
  if (!stale && (paused || total <= lastSeq)) return;
  await refresh(ask);
}

async function refresh(ask) {
  if (asking || now === 0) return;
  asking = true;
  try {
    do {
      const fresh = stale;
      stale = false;
      await look(ask, fresh).catch((error) => {
        stale ||= fresh;
        throw error;
      });
    } while (stale);
    trouble("");
  } catch (error) {
    trouble(error.reason ?? "");
    if (!error.reason) throw error;
  } finally {
    asking = false;
  }
}

async function look(ask, fresh) {
  const query = filters.conditions(now);
  query.set("limit", String(ROWS));
  if (!fresh) query.set("after_seq", String(lastSeq));
  const seen = total;
  const { events } = await ask(`events?${query}`);
  if (stale) return;
  filters.learn(events, []);
  lastSeq = Math.max(seen, events[0]?.seq ?? 0);
  const rows = events.map(row);
  if (fresh) byId("events").replaceChildren(...rows);
  else byId("events").prepend(...rows);
  while (byId("events").rows.length > ROWS) byId("events").deleteRow(-1);
  if (fresh) put("found", filters.conditions(now).size ? found(events.length) : "");
  byId("no_events").hidden = byId("events").rows.length > 0;
}

const found = (length) => (length === 0 ? "no match" : length < ROWS ? `${length} found` : `newest ${ROWS} that match`);

function trouble(reason) {
  put("trouble", reason);
  byId("trouble").hidden = reason === "";
}

/** With "since", what was shown becomes too old. */
function dropOld() {
  const oldest = filters.oldest(now);
  const rows = byId("events").rows;
  while (oldest && rows.length && Number(rows[rows.length - 1].dataset.received) < oldest) byId("events").deleteRow(-1);
  byId("no_events").hidden = rows.length > 0;
}

function row(event) {
  const received = instant(event.received_at);
  const open = make("button", "link", time(received));
  open.type = "button";
  open.setAttribute("aria-label", `${time(received)}, details`);
  const line = make(
    "tr", "",
    cell("when", open), cell("what", ...what(event)), cell("content", ...content(event)), cell("device", text(event.device)),
    cell("number engaged", ...engaged(event)), cell("number late", late(event, received)),
  );
  // On a phone a row is laid out as a grid, and would be a row no more to those who hear it.
  line.setAttribute("role", "row");
  line.dataset.received = String(received);
  line.addEventListener("click", () => details(event));
  return line;
}

function cell(className, ...children) {
  const made = make("td", className, ...children);
  made.setAttribute("role", "cell");
  return made;
}

function what(event) {
  const kind = text(event.event_type);
  const badge = make("span", "badge", kind);
  badge.dataset.kind = kind;
  return OPS[event.op] ? [badge, make("span", "op", OPS[event.op])] : [badge];
}

function content(event) {
  const title = event.content_title ?? filters.titleOf(event.content_id);
  const shown = make("span", title ? "name" : "name id", text(title ?? event.content_id));
  shown.title = text(event.content_id);
  return event.content_type ? [shown, make("span", "kind", event.content_type)] : [shown];
}

function engaged(event) {
  if (typeof event.engagement_seconds !== "number") return ["–"];
  const seconds = duration(event.engagement_seconds * 1000);
  if (typeof event.engagement_pct !== "number") return [seconds];
  return [seconds, make("span", "share", `${(event.engagement_pct * 100).toFixed(1)} %`)];
}

/** Until it was taken up; the figures above say how long until it was durable. */
function late(event, received) {
  const delay = received - instant(event.committed_at);
  return Number.isFinite(delay) ? duration(Math.max(delay, 0)) : "–";
}

function details(event) {
  put("json", JSON.stringify(event, null, 2));
  byId("details").showModal();
}
