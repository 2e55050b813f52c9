// The live page: asks for what is new twice a second, and goes on by itself when the receiver was away.

import * as charts from "./charts.js";
import * as events from "./events.js";
import * as filters from "./filters.js";
import { ago, byId, bytes, count, duration, make, put, rate, text } from "./text.js";

const EVERY_MS = 500;
const PATIENCE_MS = 8000;
const MAX_PAUSE_MS = 4000;
const IDLE_MS = 10_000;

let failures = 0;
let last = null;
let timer = 0;
let looking = false;

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
  if (answer.ok) return answer.json();
  const error = new Error(`${path} answered ${answer.status}`);
  // What the receiver itself says of one question; anything else is trouble with the receiver.
  error.reason = (await answer.json().catch(() => ({}))).error;
  throw error;
}

async function look() {
  const live = await ask(`live?after=${charts.known()}`);
  // Another store, an emptied one: begin again.
  if (!last) performance.mark("shown");
  if (last && live.total_events < last.total_events) {
    events.forget();
    charts.forget();
  }
  last = live;
  showFeed(live);
  showFigures(live);
  showTop(live.top);
  filters.learn([], Object.keys(live.by_event_type));
  byId("empty").hidden = live.total_events > 0;
  document.body.classList.toggle("is-empty", live.total_events === 0);
  charts.add(live);
  await events.update(ask, live);
}

async function tick() {
  if (looking) return;
  looking = true;
  clearTimeout(timer);
  try {
    await look();
    failures = 0;
  } catch (error) {
    failures += 1;
    feed("reconnecting", "Reconnecting", last ? `last answer ${ago(Date.now() - last.asked)}` : "");
    if (!(error instanceof TypeError || error.name === "TimeoutError")) console.warn(error.message);
  }
  looking = false;
  // Nobody looks at a hidden page; it asks again when it is shown.
  if (!document.hidden) timer = setTimeout(tick, Math.min(EVERY_MS * 2 ** Math.min(failures, 8), failures ? MAX_PAUSE_MS : EVERY_MS));
}

function feed(state, word, detail) {
  byId("feed").dataset.state = state;
  put("feed_state", word);
  put("feed_detail", detail);
}

function showFeed(live) {
  live.asked = Date.now();
  const quiet = live.last_stored_ms === null ? null : live.now_ms - live.last_stored_ms;
  if (quiet !== null && quiet < IDLE_MS) feed("live", "Live", "");
  else feed("idle", "Idle", quiet === null ? "waiting for the first event" : `last event ${ago(quiet)}`);
}

function showFigures(live) {
  for (const id of ["total_events", "duplicates", "rejected", "invalid_signatures"]) put(id, count(live[id]));
  put("events_per_second", rate(live.events_per_second));
  put("p50", live.latency_ms ? duration(live.latency_ms.p50) : "–");
  put("p99", live.latency_ms ? `99 % within ${duration(live.latency_ms.p99)}` : "commit to stored");
  put("kept", `${count(live.kept_events)} kept, ${bytes(live.kept_bytes)}`);
  const came = live.total_events + live.duplicates;
  put("duplicates_note", live.duplicates ? `${(live.duplicates / came * 100).toPrecision(2)} % of what came` : "none came twice");
  put("invalid_signatures_note", live.invalid_signatures ? "refused: wrong or old key?" : "all requests believed");
  put("rejected_note", live.rejected ? "refused for good" : "all events readable");
  byId("invalid_signatures").parentElement.classList.toggle("bad", live.invalid_signatures > 0);
  byId("rejected").parentElement.classList.toggle("bad", live.rejected > 0);
}

let shownTop = "";

function showTop(top) {
  byId("no_top").hidden = top.length > 0;
  const now = JSON.stringify(top);
  if (now === shownTop) return;
  shownTop = now;
  const most = Math.max(1, ...top.map((one) => one.events));
  const list = byId("top");
  // Items are kept and filled anew, so that the one with the keyboard's focus stays.
  while (list.children.length > top.length) list.lastElementChild.remove();
  while (list.children.length < top.length) list.append(topItem());
  top.forEach((one, at) => fillTop(list.children[at], one, most));
}

function topItem() {
  const open = make("button", "", make("span", "name"), make("span", "events"), make("span", "kind"), make("span", "bar", make("i")));
  open.type = "button";
  open.addEventListener("click", () => filters.choose(open.dataset.content));
  return make("li", "", open);
}

function fillTop(item, one, most) {
  if (one.title) filters.name(one.content_id, one.title);
  const open = item.firstElementChild;
  open.dataset.content = one.content_id;
  open.title = "Show its events";
  open.querySelector(".name").textContent = one.title ?? one.content_id;
  open.querySelector(".kind").textContent = text(one.content_type);
  open.querySelector(".events").textContent = count(one.events);
  open.querySelector("i").style.width = `${Math.max(one.events / most * 100, 1)}%`;
}

// The theme ------------------------------------------------------------------------------------------------------------

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (systemIsDark.matches ? "dark" : "light")) === "dark";

function themed() {
  byId("theme").setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
  charts.repaint();
}

byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  try {
    localStorage.setItem("theme", document.documentElement.dataset.theme);
  } catch {
    // Forbidden: it holds until the page is left.
  }
  themed();
});
systemIsDark.addEventListener("change", themed);
themed();

// The statement --------------------------------------------------------------------------------------------------------

async function copy(source) {
  const written = source.textContent;
  try {
    await navigator.clipboard.writeText(written);
    return true;
  } catch {
    // Without https, and on another host than this one, browsers know only the old way.
  }
  getSelection().selectAllChildren(source);
  return document.execCommand("copy");
}

byId("copy").addEventListener("click", async () => {
  const done = await copy(byId("sql")).catch(() => false);
  put("copied", done ? "Copied." : "Selected: press Ctrl-C.");
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) tick();
});
events.begin(ask);
tick();
