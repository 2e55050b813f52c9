// How values are written, and how elements are made. Everything that comes from an event goes through textContent.

const whole = new Intl.NumberFormat("en-US");
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const byId = (id) => document.getElementById(id);

/** Sets a text only where it differs, so that nothing is painted or read out again. */
export function put(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

export function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export const count = (value) => (Math.abs(value) < 10_000_000 ? whole.format(value) : short.format(value));

export const rate = (value) => (value < 100 && !Number.isInteger(value) ? value.toFixed(1) : whole.format(Math.round(value)));

export const compact = (value) => short.format(value);

/** A duration in milliseconds, in three digits and its unit. */
export function duration(ms) {
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} days`;
}

/** An instant as the receiver writes it, in milliseconds, with its microseconds. */
export function instant(written) {
  const [, second, fraction] = /^(.{19})(\.\d+)?Z$/.exec(written ?? "") ?? [];
  return second ? Date.parse(`${second}Z`) + Number(fraction ?? 0) * 1000 : NaN;
}

/** How long ago, in whole units: it is told again and again. */
export const ago = (ms) => (ms < 1000 ? "a moment ago" : `${duration(ms < 10_000 ? Math.floor(ms / 1000) * 1000 : ms).replace(".0", "")} ago`);

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export const time = (ms) => clock.format(ms);

export const text = (value) => (value === null || value === undefined || value === "" ? "–" : String(value));
