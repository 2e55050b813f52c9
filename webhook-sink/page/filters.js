// Which events are shown: the form, what it offers, and the address that remembers it.

import { byId, make } from "./text.js";

const FIELDS = ["event_type", "device", "content", "since"];
const MAX_OFFERED = 200;

/** Content ids by title, and titles by id: people choose a title, the receiver filters by the id. */
const idByTitle = new Map();
const titleById = new Map();
const offered = { devices: new Set(), contents: new Set(), event_type: new Set() };

/** Calls `changed` whenever other events are wanted. */
export function begin(changed) {
  const wanted = new URLSearchParams(location.search);
  for (const id of FIELDS) {
    const value = wanted.get(id);
    if (value === null) continue;
    if (id === "event_type") offerType(value);
    byId(id).value = value;
  }
  const apply = () => {
    remember();
    changed();
  };
  byId("filters").addEventListener("change", apply);
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  byId("filters").addEventListener("reset", () => {
    // The fields are emptied after this event.
    queueMicrotask(() => {
      for (const id of FIELDS) byId(id).value = "";
      apply();
    });
  });
  remember();
}

function remember() {
  const address = new URLSearchParams();
  for (const id of FIELDS) if (byId(id).value.trim()) address.set(id, byId(id).value.trim());
  const query = address.toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
  byId("clear").disabled = query === "";
}

/** The conditions of a query for `/events`; `now` is the receiver's clock, in milliseconds. */
export function conditions(now) {
  const query = new URLSearchParams();
  for (const id of ["event_type", "device"]) if (byId(id).value.trim()) query.set(id, byId(id).value.trim());
  const content = byId("content").value.trim();
  if (content) query.set("content_id", idByTitle.get(content) ?? content);
  const since = oldest(now);
  if (since) query.set("since", String(since));
  return query;
}

/** Events received before are not wanted, in milliseconds; 0 where all are. */
export const oldest = (now) => (byId("since").value ? Math.floor(now - Number(byId("since").value) * 1000) : 0);

/** Shows the events of one content. */
export function choose(contentId) {
  byId("content").value = titleById.get(contentId) ?? contentId;
  byId("filters").dispatchEvent(new Event("change"));
}

export const titleOf = (contentId) => titleById.get(contentId);

/** Offers what was seen. */
export function learn(events, types) {
  for (const type of types) offerType(type);
  for (const event of events) {
    if (event.content_id && event.content_title) name(event.content_id, event.content_title);
    if (typeof event.device === "string") offer("devices", event.device);
  }
}

/** A title that two contents have is told apart by the id. */
export function name(contentId, title) {
  if (titleById.get(contentId) === title || titleById.size >= 5000) return;
  const taken = idByTitle.has(title) && idByTitle.get(title) !== contentId;
  const label = taken ? `${title} (${contentId})` : title;
  titleById.set(contentId, label);
  idByTitle.set(label, contentId);
  offer("contents", label);
}

function offer(list, value) {
  if (offered[list].has(value) || offered[list].size >= MAX_OFFERED) return;
  offered[list].add(value);
  const option = make("option");
  option.value = value;
  byId(list).append(option);
}

function offerType(type) {
  if (type === "unknown" || type === "(other)" || offered.event_type.has(type) || offered.event_type.size >= MAX_OFFERED) return;
  offered.event_type.add(type);
  const option = make("option", "", type);
  option.value = type;
  byId("event_type").append(option);
}
