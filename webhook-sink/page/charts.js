// The two charts: uPlot on the last ten minutes, second by second, in the colours of the theme.

import { byId, compact, duration, put, rate, time } from "./text.js";

const MIN_SPAN_S = 60;
const HEIGHT_PX = 190;
/** What a logarithmic axis can show; a latency of nothing, from a clock that is ahead, is shown as this. */
const MIN_MS = 0.1;
/** What the marks of time may lie apart. */
const STEPS_S = [1, 5, 10, 15, 30, 60, 120, 300, 600];
const LOG_STEPS = [1, 2, 5];

/** Second → [stored, median, 99 %]; what the receiver told so far. */
const seconds = new Map();
const charts = [];
let spanS = 600;
let lastSecond = 0;

/** The last second that is known: the next answer need only tell what follows. */
export const known = () => lastSecond;

export function forget() {
  seconds.clear();
  lastSecond = 0;
}

/** Takes in what an answer tells, and draws. */
export function add(live) {
  spanS = live.span_s;
  // The receiver's clock was set back: what it told of the time ahead would hide what comes.
  if (lastSecond > live.now_ms / 1000) forget();
  for (const [second, stored, p50, p99] of live.points) {
    seconds.set(second, [stored, p50, p99]);
    lastSecond = Math.max(lastSecond, second);
  }
  const end = Math.floor(live.now_ms / 1000) - 1;
  for (const second of seconds.keys()) if (second < end - spanS || second > end) seconds.delete(second);
  draw(end);
}

function draw(end) {
  const first = seconds.size ? Math.min(...seconds.keys()) : end;
  const start = Math.max(Math.min(first, end - MIN_SPAN_S), end - spanS);
  const [xs, stored, p50, p99] = [[], [], [], []];
  for (let second = start; second <= end; second += 1) {
    const point = seconds.get(second);
    xs.push(second);
    stored.push(point ? point[0] : 0);
    p50.push(shown(point?.[1]));
    p99.push(shown(point?.[2]));
  }
  if (charts.length === 0) build();
  charts[0].setData([xs, stored]);
  charts[1].setData([xs, p99, p50]);
}

const shown = (ms) => (ms === null || ms === undefined ? null : Math.max(ms, MIN_MS));

/** Canvases know no CSS: the colours are looked up, and again when the theme changes. */
export function repaint() {
  const data = charts.map((chart) => chart.data);
  for (const chart of charts.splice(0)) chart.destroy();
  if (data.length === 0) return;
  build();
  charts.forEach((chart, at) => chart.setData(data[at]));
}

function colour(name, alpha = 1) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g);
  probe.remove();
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}

function build() {
  const rateChart = {
    ...frame(byId("rate_chart"), { range: (_, __, max) => [0, Math.max(max * 1.1, 5)] }, (_, splits) => splits.map(wholeOnly)),
    series: [{}, line("--rate", { fill: colour("--rate", 0.14) })],
    hooks: { setCursor: [readRate], setData: [readRate] },
  };
  const latencyChart = {
    ...frame(byId("latency_chart"), { distr: 3, range: decades }, (_, splits) => splits.map((ms) => (ms === null ? "" : axisMs(ms)))),
    // The median last, so that it lies on top.
    series: [{}, line("--p99"), line("--p50")],
    hooks: { setCursor: [readLatency], setData: [readLatency] },
  };
  latencyChart.axes[1].splits = logSplits;
  latencyChart.axes[1].filter = (_, splits) => splits;
  const empty = [[], [], []];
  charts.push(new uPlot(rateChart, empty.slice(0, 2), byId("rate_chart")), new uPlot(latencyChart, empty, byId("latency_chart")));
}

function frame(parent, y, values) {
  const axis = {
    stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false },
    font: "12px system-ui, sans-serif",
  };
  return {
    width: Math.max(parent.clientWidth, 200), height: HEIGHT_PX, legend: { show: false }, padding: [10, 8, 0, 0],
    cursor: { sync: { key: "seconds" }, drag: { x: false, y: false }, points: { size: 7 }, y: false },
    scales: { x: { time: true }, y },
    axes: [
      { ...axis, grid: { show: false }, size: 26, gap: 6, space: 76, incrs: STEPS_S, values: times },
      { ...axis, size: 58, gap: 8, space: 34, values },
    ],
  };
}

function line(name, more = {}) {
  return { stroke: colour(name), width: 1.5, spanGaps: false, points: { show: true, size: 5, width: 0, fill: colour(name), filter: alone }, ...more };
}

/** Of a line with gaps, the points that stand alone: they would be seen by nothing else. */
function alone(chart, series) {
  const values = chart.data[series];
  const missing = (at) => values[at] === null || values[at] === undefined;
  return values.reduce((found, value, at) => (value !== null && missing(at - 1) && missing(at + 1) ? [...found, at] : found), []);
}

const wholeOnly = (value) => (Number.isInteger(value) ? compact(value) : "");
/** A label that would be cut off at the right is left out. */
function times(chart, splits, _, __, step) {
  const end = chart.bbox.width / devicePixelRatio - (step < 60 ? 20 : 12);
  return splits.map((second) => (chart.valToPos(second, "x") > end ? "" : axisTime(second, step)));
}

const axisTime = (second, step) => (step < 60 ? time(second * 1000) : time(second * 1000).slice(0, 5));
const axisMs = (ms) => (ms < 1000 ? `${ms} ms` : ms < 60_000 ? `${ms / 1000} s` : `${compact(ms / 60_000)} min`);

/** From the step of 1, 2, 5 … below the least to the one above the most, and at least a tenfold. */
function decades(_, min, max) {
  if (!(min > 0)) return [1, 100];
  const steps = allSteps();
  const low = steps.findLast((step) => step <= min * 0.95) ?? MIN_MS;
  const high = steps.find((step) => step >= max * 1.05 && step >= low * 10) ?? steps[steps.length - 1];
  return [low, high];
}

function logSplits(_, __, min, max) {
  const inside = allSteps().filter((step) => step >= min * 0.999 && step <= max * 1.001);
  // On a wide scale only the tenfolds, else they would touch.
  return max / min > 200 ? inside.filter((step) => Number.isInteger(Math.round(Math.log10(step) * 1e6) / 1e6)) : inside;
}

function allSteps() {
  const steps = [];
  for (let exponent = -2; exponent < 9; exponent += 1) {
    for (const step of LOG_STEPS) steps.push(Number((step * 10 ** exponent).toPrecision(1)));
  }
  return steps;
}

/** What a series is in the second under the cursor, else in the last in which it was anything. */
function read(chart, series) {
  const under = chart.cursor.idx;
  if (under !== null && under !== undefined && chart.cursor.left >= 0) return chart.data[series][under];
  return chart.data[series].findLast((value) => value !== null && value !== undefined);
}

function readRate(chart) {
  const value = read(chart, 1);
  put("rate_at", value === undefined ? "–" : rate(value));
}

function readLatency(chart) {
  for (const [id, series] of [["p99_at", 1], ["p50_at", 2]]) {
    const value = read(chart, series);
    put(id, value === null || value === undefined ? "–" : duration(value));
  }
}

new ResizeObserver(() => {
  for (const chart of charts) {
    const width = chart.root.parentElement.clientWidth;
    if (width > 0 && width !== chart.width) chart.setSize({ width, height: HEIGHT_PX });
  }
}).observe(byId("charts"));
