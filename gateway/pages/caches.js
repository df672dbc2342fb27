/** The page of the caches: what was used again, what was not and why, what was thrown away. Drawn again every few seconds. */

import { call } from "./api.js";
import { bars, svg } from "./charts.js";
import { $, make } from "./dom.js";
import { announce, arrive, countPending, openSide } from "./shell.js";

const CACHES = {
  answers: ["Answers", "Whole answers, where the workspace allows it."],
  retrieval: ["Searches", "The candidates of both stores, by index version, recipe, log position, filters and access."],
  vectors: ["Vectors", "Of questions and sentences, by model, revision and text; those of all workspaces."],
};
const OUTCOMES = {
  hit: "used again", exact: "the same question", semantic: "in other words", missed: "nothing that fits", kind: "kind not allowed",
  number: "has a number", date: "has a date", name: "has a name", "follow-up": "follows another", parts: "has several parts",
  condition: "narrowed by its words", notice: "came with a notice", anew: "asked anew",
};
const REASONS = {
  changed: "a source changed", deleted: "a source was deleted", access: "access changed", passages: "other passages now",
  age: "too old", full: "no room", erased: "erased",
};
const HITS = ["hit", "exact", "semantic"];
const EVERY = 10_000;
const state = { caches: [], selected: "" };

async function start() {
  await arrive();
  countPending();
  $("hours").addEventListener("change", load);
  await load();
  announce("The figures are here.");
  setInterval(() => document.hidden || load().catch(() => {}), EVERY);
}

async function load() {
  const { caches } = await call("GET", `/v1/caches?hours=${$("hours").value}`);
  state.caches = caches;
  draw();
}

function draw() {
  const names = [...new Set(state.caches.map((c) => c.workspace))].filter(Boolean);
  if (!names.includes(state.selected)) state.selected = names[0] ?? "";
  $("no-workspaces").hidden = names.length > 0;
  const held = document.activeElement?.dataset?.key;
  $("workspaces").replaceChildren(...names.map((name) => make("li", {}, make("a", {
    href: "#", "data-key": name, "aria-current": String(name === state.selected),
    onclick: (event) => {
      event.preventDefault();
      state.selected = name;
      openSide(false);
      draw();
    },
  }, make("strong", {}, name)))));
  const order = Object.keys(CACHES);
  const mine = state.caches.filter((c) => !c.workspace || c.workspace === state.selected)
    .sort((a, b) => order.indexOf(a.cache) - order.indexOf(b.cache));
  $("figures").replaceChildren(...(names.length ? shown(mine)
    : [make("p", { class: "hint" }, "Nobody has asked in this time.")]));
  if (held) document.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
}

function shown(caches) {
  const { reuse } = caches.find((c) => c.workspace);
  const allowed = reuse
    ? `Answers may be given again to questions of the kinds ${reuse.kinds.join(", ")}, for ${reuse.hours} h`
      + (reuse.semantic ? `, also in other words (cosine at least ${reuse.similarity}).` : ".")
    : "Answers are never given again here: the workspace does not allow it.";
  return [make("p", { class: "facts" }, allowed), make("div", { class: "cards" }, ...caches.map(card))];
}

function card(total) {
  const [title, about] = CACHES[total.cache] ?? [total.cache, ""];
  const hits = sum(total.lookups, HITS);
  const fit = hits + (total.lookups.missed ?? 0);
  return make("section", { class: "card" }, make("h3", {}, title), make("p", { class: "facts" }, about),
    make("div", { class: "numbers" },
      figure(fit ? `${Math.round((100 * hits) / fit)} %` : "–", "hit rate"), figure(hits, "hits"), figure(fit, "lookups"),
      total.saved ? figure(total.saved.toFixed(total.saved < 1 ? 4 : 2), "cost saved") : null),
    hours(total, title),
    ...reasons("What came of lookups", total.lookups, OUTCOMES), ...reasons("Thrown away, by worker", total.evictions, REASONS));
}

const sum = (counts, names) => names.reduce((all, name) => all + (counts[name] ?? 0), 0);
const figure = (value, name) => make("div", {}, make("strong", {}, String(value)), make("span", {}, name));

/** Lookups by the hour, hits in front. */
function hours(total, title) {
  const most = Math.max(1, ...total.hours.map(([, [, fit]]) => fit));
  const count = Number($("hours").value);
  const last = Math.floor(Date.now() / 3_600_000);
  const width = 200 / count;
  return svg("svg", { class: "chart hours", viewBox: "0 0 200 40", preserveAspectRatio: "none", role: "img",
    "aria-label": `${title}: hits and lookups by the hour` },
  ...total.hours.flatMap(([hour, [hit, fit]]) => {
    const x = (count - 1 - (last - hour / 3_600_000)) * width;
    const bar = (kind, value) => svg("rect", { class: kind, x, width: Math.max(0.5, width * 0.85), y: 40 - (40 * value) / most, height: (40 * value) / most });
    return [bar("lookups", fit), bar("hits", hit)];
  }));
}

function reasons(title, counts, names) {
  const known = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  if (!known.length) return [];
  const most = known[0][1];
  return [make("h4", {}, title), make("div", { class: "reasons" }, ...known.flatMap(([name, count]) => [
    make("span", {}, names[name] ?? name),
    bars([{ value: count / most, kind: HITS.includes(name) ? "now" : "live" }], `${names[name] ?? name}: ${count}`),
    make("span", { class: "amount" }, String(count))]))];
}

start().catch((error) => {
  $("shell").hidden = false;
  $("figures").append(make("div", { class: "failed", role: "alert" }, make("p", {}, error.message)));
});
