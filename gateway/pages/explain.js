/** The way of a question through retrieval, drawn from what the gateway explains. */

import { svg } from "./charts.js";
import { make } from "./dom.js";

const STAGES = {
  conditions: "reading conditions", keyword: "keywords", embed: "embedding", dense: "vectors", keyword_scores: "keyword scores of the rest",
  dense_scores: "vector scores of the rest", weigh: "looking at documents", fuse: "fusing", fetch: "texts and access", rerank: "reading again",
  select: "sections and budget", explain: "explaining",
};
const LISTED = 10;

/** Elements in the order of the way. `open(source, from)` shows a passage. */
export function explained(found, open) {
  const told = found.explain;
  const parts = told.parts.length ? told.parts : [told];
  return [
    question(told, parts),
    ...parts.flatMap((part) => [
      parts.length > 1 ? make("h2", { class: "part" }, `Part: ${part.query}`) : null,
      lists(part), ranking(part, found.sources, open),
    ].filter(Boolean)),
    times(found.timings),
    recipe(told),
  ];
}

function question(told, parts) {
  const rows = [
    told.rewritten && told.rewritten !== told.asked ? ["Made whole from the conversation", told.rewritten] : null,
    told.read_by ? ["Read by", told.read_by] : null,
    told.searched !== told.question ? ["Searched, without its conditions", told.searched] : null,
    ...told.filters.map((f) => [f.said ? `“${f.said}”` : "Filter", `${f.field} ${WORDS[f.op]} ${f.values.map((v) => v === "" ? "(none there is)" : v).join(", ")}`]),
    parts.length > 1 ? ["Parts", parts.map((p) => p.query).join(" · ")] : ["Words for the keyword search", parts[0].keywords],
    ...parts.filter((p) => p.also).map((p) => ["Searched too, at half their weight", p.also]),
    ["Depth", parts.map((p) => `${p.depth} (${p.difficulty})`).join(" · ")],
    ["Candidates", String(told.candidates)],
  ].filter(Boolean);
  return make("dl", { class: "path-facts" }, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

const WORDS = { eq: "is", any: "is one of", gte: "is at least", lte: "is at most" };

/** Both stores' own lists, side by side; behind each chunk the rank that it got in the end. */
function lists(part) {
  const ranks = new Map(part.ranking.map((r) => [r.chunk, r.rank]));
  const list = (name, title, digits) => make("section", {}, make("h3", {}, title),
    part.lists[name].length
      ? make("ol", {}, ...part.lists[name].slice(0, LISTED).map((each) => make("li", { value: each.rank },
        make("span", { class: "place" }, place(each)),
        make("span", { class: "figure" }, each.score === null ? "" : each.score.toFixed(digits)),
        make("span", { class: "became", title: "Rank in the end" }, ranks.has(each.chunk) ? `→ ${ranks.get(each.chunk)}` : "→"))))
      : make("p", { class: "hint" }, "Nothing.")); // the store did not answer, or no word of the question is anywhere
  return make("div", { class: "lists" }, list("keywords", "By keywords (BM25)", 2), list("vectors", "By vectors (cosine)", 3));
}

function ranking(part, sources, open) {
  const head = ["", "passage", "keywords", "vectors", "besides", "score", ""];
  const rows = part.ranking.map((r) => {
    const source = sources.find((s) => s.chunk === r.chunk);
    const name = source
      ? make("button", { type: "button", class: "link", "aria-expanded": "false", onclick: (e) => open(source, e.currentTarget) }, place(r))
      : make("span", {}, place(r));
    return make("tr", { class: r.source ? "taken" : "" },
      make("td", { class: "number" }, String(r.rank)), make("td", { class: "name" }, name),
      make("td", { title: rank(r.keyword_rank, r.keyword, 2) }, signed(r.keyword_z)),
      make("td", { title: rank(r.dense_rank, r.dense, 3) }, signed(r.dense_z), r.dense_weight === 0.5 ? "" : make("small", {}, ` ×${r.dense_weight}`)),
      make("td", { class: "besides" }, besides(r)),
      make("td", {}, make("strong", {}, r.score.toFixed(2)), r.reranked === null ? "" : make("small", { title: "Of the cross-encoder" }, ` ${r.reranked.toFixed(2)}`)),
      make("td", { class: "became" }, r.source ? `[${r.source}]` : r.left_out ?? ""));
  });
  return make("section", { class: "ranking" }, make("h3", {}, part.reranked ? "As one list, read again by the cross-encoder" : "As one list"),
    make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "The ranking" },
      make("table", {}, make("thead", {}, make("tr", {}, ...head.map((h) => make("th", { scope: "col" }, h)))), make("tbody", {}, ...rows))),
    make("p", { class: "hint" }, "Standard deviations above the mean of each store's list, and what was added: the document's best passages, "
      + "headings, type, recency. What no number in brackets follows is beyond the passages asked for, or says why."));
}

function besides(r) {
  const added = [["document", r.document_bonus], ...Object.entries(r.boosts)].filter(([, value]) => Math.abs(value) >= 0.005);
  return added.map(([name, value]) => `${name} ${signed(value)}`).join(", ");
}

function times(timings) {
  const stages = Object.entries(timings).filter(([name]) => name in STAGES).sort((a, b) => b[1] - a[1]);
  const longest = Math.max(1, ...stages.map(([, ms]) => ms));
  return make("section", {}, make("h3", {}, `Time: ${Math.round(timings.total)} ms in all; what is asked at the same time overlaps`),
    make("div", { class: "times" }, ...stages.flatMap(([name, ms]) => [
      make("span", {}, STAGES[name]),
      svg("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
        svg("rect", { x: 0, y: 0, width: (100 * ms) / longest, height: 6 })),
      make("span", { class: "figure" }, `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`)])));
}

function recipe(told) {
  const set = Object.entries(told.origin).map(([name, by]) => `${name} ${told.recipe[name]} (${by})`);
  return make("details", { class: "recipe" },
    make("summary", {}, set.length ? `Recipe: ${set.join(", ")}` : "Recipe: the defaults"),
    make("dl", { class: "path-facts" }, ...Object.entries(told.recipe).flatMap(([name, value]) => [
      make("dt", {}, name), make("dd", {}, String(value))])));
}

function place(each) {
  const [first, ...rest] = each.heading_path;
  const headings = first === each.title ? rest : each.heading_path;
  return [each.title || each.document, ...headings].join(" › ");
}

const signed = (value) => `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(2)}`;
const rank = (place_, score, digits) => (score === null ? "not found by it" : `${place_ ? `rank ${place_}, ` : ""}${score.toFixed(digits)}`);
