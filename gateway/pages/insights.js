/** Live figures: one small chart a figure, drawn anew every few seconds. */

import { call, quoted } from "./api.js";
import { svg } from "./charts.js";
import { $, make } from "./dom.js";
import { arrive, countPending, openSide } from "./shell.js";

const AGAIN = 5000;
const WIDTH = 240;
const HEIGHT = 60;
const SLOWEST = 30000; // milliseconds of the last bucket

const CHOSEN = "#workspace=";

const chosen = (hash) => (hash.startsWith(CHOSEN) ? decodeURIComponent(hash.slice(CHOSEN.length)) : "");
const state = { minutes: 60, workspace: "", drawn: 0 };

const whole = (n) => n.toLocaleString();
const percent = (share) => (share === null ? "–" : `${Math.round(share * 100)} %`);
const millis = (ms) => (ms === undefined ? "–" : ms === null ? "> 30 s" : ms < 1000 ? `${ms} ms` : `${ms / 1000} s`);
const sum = (counts, ...names) => names.reduce((total, name) => total + (counts[name] ?? 0), 0);
const share = (counts, part, ...of) => (sum(counts, ...of) ? sum(counts, part) / sum(counts, ...of) : null);
const money = (micros) => (micros / 1e6).toLocaleString(undefined, { maximumFractionDigits: 4 });

/** How often: bars, the sum of the window. */
const often = (title, ...names) => ({ title, value: (p) => [sum(p.counts, ...names)], told: (all) => whole(sum(all.total, ...names)) });

/** Two kinds of one thing: bars of both. */
const pair = (title, keys, first, second, told, peak) => ({
  title, keys, peak, value: (p) => [sum(p.counts, first), sum(p.counts, second)],
  told: (all) => told?.(all.total) ?? `${whole(sum(all.total, first))} / ${whole(sum(all.total, second))}`,
});

/** A share of the whole: a line from 0 to 100 %. */
const part = (title, name, ...of) => ({
  title, lines: true, top: 1, peak: percent, value: (p) => [share(p.counts, name, ...of)], told: (all) => percent(share(all.total, name, ...of)),
});

/** Median and 95th percentile of a stage. */
const times = (title, stage) => ({
  title, lines: true, peak: millis, keys: ["median", "95th"],
  value: (p) => (p.stages[stage] ? [p.stages[stage].p50 ?? SLOWEST, p.stages[stage].p95 ?? SLOWEST] : [null, null]),
  told: (all) => `${millis(all.stages[stage]?.p50)} / ${millis(all.stages[stage]?.p95)}`,
});

const CHARTS = [
  often("Questions", "questions"),
  times("First text", "first_text"),
  times("Whole answer", "total"),
  part("Not in the sources", "not_in_sources", "questions"),
  part("Answers with citations", "cited", "answered"),
  pair("Feedback", ["good", "bad"], "feedback_good", "feedback_bad"),
  pair("No answer", ["cancelled", "failed"], "cancelled", "failed"),
  often("Searches", "searches"),
  part("Searches from the cache", "retrieval_hits", "retrieval_hits", "retrieval_misses"),
  part("Answers from the cache", "answers_hits", "answers_hits", "answers_misses"),
  pair("Tokens", ["answers", "tasks"], "tokens", "task_tokens"),
  pair("Cost", ["answers", "tasks"], "micros", "task_micros", (total) => money(sum(total, "micros", "task_micros")), money),
  pair("Approvals", ["given", "denied"], "approved", "denied", (total) => `${percent(share(total, "approved", "approved", "denied"))} given`),
  pair("Tasks", ["finished", "at step limit"], "tasks", "tasks_at_step_limit"),
];

/** Rows of values as bars beside each other, or as lines; null leaves a gap. */
function plot({ lines, top }, rows, label) {
  const most = top ?? Math.max(1e-9, ...rows.flat().filter((v) => v !== null));
  const step = WIDTH / rows.length;
  const y = (value) => HEIGHT - (value / most) * (HEIGHT - 2);
  const drawn = [];
  for (let s = 0; s < rows[0].length; s += 1) {
    const second = s ? " second" : "";
    if (lines) {
      let path = "";
      rows.forEach((row, i) => {
        if (row[s] === null) return;
        const begins = i === 0 || rows[i - 1][s] === null;
        path += `${begins ? "M" : "L"}${((i + 0.5) * step).toFixed(1)} ${y(row[s]).toFixed(1)}${begins ? "h.5" : ""}`;
      });
      drawn.push(svg("path", { class: `line${second}`, d: path || "M0 0" }));
    } else {
      const width = Math.max(0.4, (step / rows[0].length) * 0.85);
      rows.forEach((row, i) => {
        if (!row[s]) return;
        const height = Math.max(1.5, HEIGHT - y(row[s]));
        drawn.push(svg("rect", {
          class: `bar${second}`, x: (i * step + (s * step) / rows[0].length).toFixed(2), width: width.toFixed(2),
          y: (HEIGHT - height).toFixed(2), height: height.toFixed(2) }));
      });
    }
  }
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }), ...drawn);
}

function figure(chart, rows, told, [from, to]) {
  const values = rows.flat().filter((v) => v !== null);
  const peak = values.length ? Math.max(...values) : 0;
  const keys = (chart.keys ?? []).map((key, s) => make("span", { class: s ? "key second" : "key" }, key));
  return make("figure", { class: values.some((v) => v) ? "small" : "small idle" },
    make("figcaption", {}, make("span", {}, chart.title, ...keys), make("strong", {}, told)),
    plot(chart, rows, `${chart.title}: ${told}`),
    make("div", { class: "scale" }, make("span", {}, from),
      make("span", {}, peak ? `most ${(chart.peak ?? whole)(peak)}` : ""), make("span", {}, to)));
}

/** Every stage with its median and 95th percentile, each as wide as the logarithm of its time. */
function stages(found) {
  const wide = (ms) => (Math.log10(Math.min(ms ?? SLOWEST, SLOWEST)) / Math.log10(SLOWEST)) * WIDTH;
  const rows = Object.entries(found).map(([stage, { p50, p95 }]) => make("tr", {},
    make("th", { scope: "row" }, stage.replaceAll("_", " ")),
    make("td", { class: "wide" }, svg("svg", { viewBox: `0 0 ${WIDTH} 10`, preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "tail", x: 0, y: 3, height: 4, width: wide(p95) }), svg("rect", { class: "bar", x: 0, y: 1, height: 8, width: wide(p50) }))),
    make("td", {}, millis(p50)), make("td", {}, millis(p95))));
  return make("figure", { class: "small stages" },
    make("figcaption", {}, make("span", {}, "Latency by stage, on a logarithmic scale"), make("strong", {}, "median, 95th")),
    make("table", {}, make("tbody", {}, ...rows)));
}

const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

function show(found) {
  for (const point of [...found.points.map((p) => p.counts), found.total]) point.tokens = sum(point, "tokens_in", "tokens_out");
  const ends = [clock(found.points[0].minute), clock(found.points.at(-1).minute)];
  const charts = CHARTS.map((chart) => figure(chart, found.points.map(chart.value), chart.told(found), ends));
  const { ends: scores, counts } = found.scores;
  charts.push(figure({ title: "Score of the best passage" }, counts.map((n) => [n]), whole(counts.reduce((a, b) => a + b, 0)),
    [`≤ ${scores[0]}`, `> ${scores.at(-1)}`]));
  if (Object.keys(found.stages).length) charts.push(stages(found.stages));
  $("charts").replaceChildren(...charts);
  $("title").textContent = state.workspace || "Figures";
  $("state").textContent = `${found.step > 1 ? `${found.step} minutes a point · ` : ""}at ${new Date().toLocaleTimeString()}`;
  $("no-workspaces").hidden = found.workspaces.length > 0;
  const names = ["", ...new Set([...found.workspaces, ...(state.workspace ? [state.workspace] : [])])];
  if (names.join("\n") === $("workspaces").dataset.names) return;
  $("workspaces").dataset.names = names.join("\n");
  $("workspaces").replaceChildren(...names.map((name) => make("li", {}, make("a", { href: name ? `${CHOSEN}${name}` : "#" }, make("span", {}, name || "All")))));
  mark();
}

function mark() {
  for (const link of $("workspaces").querySelectorAll("a")) {
    link.setAttribute("aria-current", String(chosen(link.hash) === state.workspace));
  }
}

async function look() {
  const turn = ++state.drawn;
  try {
    const only = state.workspace ? `&workspace=${quoted(state.workspace)}` : "";
    const found = await call("GET", `/v1/insights?minutes=${state.minutes}${only}`);
    if (turn !== state.drawn) return; // something else was chosen meanwhile
    show(found);
    $("problem").textContent = "";
  } catch (error) {
    if (turn === state.drawn) $("problem").textContent = error.message;
  }
}

function follow() {
  if (location.hash === "#charts") return; // the way past the navigation
  state.workspace = chosen(location.hash);
  openSide(false);
  mark();
  return look();
}

await arrive();
countPending();
for (const button of document.querySelectorAll("[data-minutes]")) {
  button.addEventListener("click", () => {
    state.minutes = Number(button.dataset.minutes);
    for (const other of document.querySelectorAll("[data-minutes]")) other.setAttribute("aria-pressed", String(other === button));
    look();
  });
}
window.addEventListener("hashchange", follow);
await follow();
// A day changes slowly and costs more to count.
setInterval(() => {
  if (!document.hidden && (state.minutes < 1440 || Date.now() % 60000 < AGAIN)) look();
}, AGAIN);
