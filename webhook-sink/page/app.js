// The live page: asks for what is new once a second, and goes on by itself when the receiver was away.
// Everything that comes from an event goes through textContent.
"use strict";

const EVERY_MS = 1000;
const ROWS = 50;
const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en-US");
let lastSeq = 0;

const ms = (value) => (value >= 100 ? `${whole.format(Math.round(value))} ms` : `${value.toFixed(1)} ms`);
const text = (value) => (value === null || value === undefined ? "–" : String(value));

// Until it was taken up; the counters above say how long until it was durable.
function onTheWay(event) {
  const delay = Date.parse(event.received_at) - Date.parse(event.committed_at);
  return Number.isFinite(delay) ? ms(Math.max(delay, 0)) : "–";
}

function share(event) {
  return typeof event.engagement_pct === "number" ? `${(event.engagement_pct * 100).toFixed(2)} %` : text(event.engagement_pct);
}

function cells(event) {
  return [
    [new Date(event.received_at).toLocaleTimeString()], [event.op], [event.event_type], [event.content_id],
    [event.content_type], [event.device], [event.engagement_seconds, true], [share(event), true], [onTheWay(event), true],
  ];
}

function row(event) {
  const tr = document.createElement("tr");
  tr.className = "fresh";
  tr.title = text(event.event_id);
  for (const [value, number] of cells(event)) {
    const td = document.createElement("td");
    td.textContent = text(value);
    if (number) td.className = "number";
    tr.append(td);
  }
  return tr;
}

function showStats(stats) {
  for (const id of ["total_events", "duplicates", "rejected", "invalid_signatures", "events_per_second"]) {
    byId(id).textContent = whole.format(stats[id]);
  }
  for (const id of ["p50", "p99"]) {
    byId(id).textContent = stats.latency_ms ? ms(stats.latency_ms[id]) : "–";
  }
  byId("empty").hidden = stats.total_events > 0;
  byId("recent").hidden = stats.total_events === 0;
}

function showEvents(events) {
  if (events.length === 0) return;
  lastSeq = events[0].seq;
  byId("events").prepend(...events.map(row));
  while (byId("events").rows.length > ROWS) byId("events").deleteRow(-1);
}

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(10 * EVERY_MS), cache: "no-store" });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

async function look() {
  const stats = await ask("/stats");
  // Another store, an emptied one: begin again.
  if (stats.total_events < lastSeq) {
    lastSeq = 0;
    byId("events").replaceChildren();
  }
  showStats(stats);
  if (stats.total_events > lastSeq) showEvents((await ask(`/events?limit=${ROWS}&after_seq=${lastSeq}`)).events);
}

async function live() {
  try {
    await look();
    byId("state").textContent = "live";
    byId("state").className = "";
  } catch (error) {
    byId("state").textContent = `the receiver does not answer (${error.message}); trying again …`;
    byId("state").className = "lost";
  }
  setTimeout(live, EVERY_MS);
}

byId("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(byId("sql").textContent);
    byId("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(byId("sql"));
    byId("copy").textContent = "Selected: press Ctrl-C";
  }
});

live();
