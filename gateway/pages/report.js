/** A run as a report: what the gate says, a small chart for each figure, the times, the questions with the worst first. */

import { bars, times, whiskers } from "./charts.js";
import { make } from "./dom.js";

const NAMES = {
  mrr: "Reciprocal rank", "ndcg@10": "nDCG@10", cited: "Answers that cite", gold_in_cited: "Answer in what is cited",
  supported: "Sentences with support", refused: "Unanswerable, refused", refusal_right: "Refusals that were right",
  withheld: "Kept from those who may not", similarity: "Similar to the expected", faithful: "Faithful (judge)", relevant: "Relevant (judge)",
};
const nameOf = (figure) => NAMES[figure] ?? figure.replace("hit@", "Hit@").replace("recall@", "Recall@");
const three = (value) => value.toFixed(3);
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
const millis = (value) => (value < 10 ? value.toFixed(1) : String(Math.round(value)));
const worse = (difference) => Boolean(difference) && difference.value < 0 && difference.p_worse < 0.05;

export function report(run) {
  return [head(run), gate(run), figures(run), stages(run), agreement(run), ...questions(run)].filter(Boolean);
}

function head(run) {
  const live = run.live_run;
  return make("header", { class: "task-head" },
    make("h1", {}, `${run.set} on ${run.index}/${run.index_version}`),
    make("p", { class: "facts" }, [`set version ${run.set_version}`, `${run.questions.length} questions`, run.embedding,
      run.model, run.judge ? `judged by ${run.judge} (${run.judge_prompt})` : "", `by ${run.by}`,
      new Date(run.ended_at).toLocaleString()].filter(Boolean).join(" · ")),
    live ? make("p", { class: "legend" },
      make("span", {}, make("span", { class: "key live" }), `live: ${live.index_version}, ${live.embedding}`),
      make("span", {}, make("span", { class: "key now" }), `this: ${run.index_version}`)) : null,
    make("div", { class: "buttons" },
      make("a", { class: "secondary button", href: `/v1/evaluations/${encodeURIComponent(run.run)}/picture.svg`,
        download: `evaluation-${run.run.slice(0, 8)}.svg` }, "Picture")));
}

function gate(run) {
  if (!run.verdict) return null;
  const { passed, reasons, remarks } = run.verdict;
  return make("section", { class: passed ? "callout settled" : "callout", "aria-label": "The gate" },
    make("p", {}, make("strong", {}, passed ? "The gate lets it through." : "The gate refuses it.")),
    ...reasons.map((text) => make("p", {}, text)), ...remarks.map((text) => make("p", { class: "facts" }, text)));
}

function figures(run) {
  const before = byName(run.live_run?.figures);
  const differences = byName(run.differences);
  return make("section", {}, make("h2", { class: "part" }, "Figures, with 95 % intervals"),
    make("div", { class: "panels" }, ...run.figures.map((figure) => panel(figure, before.get(figure.name), differences.get(figure.name)))));
}

function panel(figure, live, difference) {
  const kind = worse(difference) ? "worse" : "now";
  const rows = [...(live ? [{ ...live, kind: "live" }] : []), { ...figure, kind }];
  const told = `${nameOf(figure.name)}: ${three(figure.value)}, from ${three(figure.low)} to ${three(figure.high)}`
    + (live ? `; live ${three(live.value)}` : "");
  return make("div", { class: "panel-small" },
    make("p", { class: "panel-line" }, make("span", { class: "name" }, nameOf(figure.name)), make("strong", { class: kind }, three(figure.value))),
    whiskers(rows, told),
    make("p", { class: "facts" }, difference ? `${signed(difference.value)} (${signed(difference.low)} to ${signed(difference.high)}) · n ${difference.count}` : `n ${figure.count}`));
}

function stages(run) {
  if (!run.stages.length) return null;
  const before = byName(run.live_run?.stages);
  const longest = Math.max(...run.stages.map((s) => s.p95), ...[...before.values()].map((s) => s.p95), 1);
  return make("section", {}, make("h2", { class: "part" }, "Milliseconds by stage: median, and up to the 95th percentile"),
    make("div", { class: "stage-times" }, ...run.stages.flatMap((stage) => {
      const live = before.get(stage.name);
      const told = `${stage.name}: median ${millis(stage.p50)} ms, 95th percentile ${millis(stage.p95)} ms`;
      return [make("span", {}, stage.name.replaceAll("_", " ")),
        times([...(live ? [{ ...live, kind: "live" }] : []), { ...stage, kind: "now" }], longest, told),
        make("span", { class: "facts" }, `${live ? `${millis(live.p50)} → ` : ""}${millis(stage.p50)}, p95 ${millis(stage.p95)}`)];
    })));
}

function agreement(run) {
  const found = run.agreement;
  return found && make("p", { class: "note" }, `The judge agrees with people on ${Math.round(found.agreed * 100)} % of ${found.marks} marked answers: `
    + `Cohen's kappa ${found.kappa.toFixed(2)} (${found.low.toFixed(2)} to ${found.high.toFixed(2)}).`);
}

function questions(run) {
  const entries = run.questions.map((question) => entry(question, run));
  const shown = { all: () => true, differ: (q) => q.live && q.live.figures.quality !== q.figures.quality,
    wrong: (q) => (q.figures.quality ?? 1) < 1 || q.outcome === "failed" };
  const count = make("span", { class: "facts" });
  const choose = make("select", { "aria-label": "Which questions", onchange: () => show() },
    make("option", { value: "all" }, "All questions, the worst first"),
    make("option", { value: "wrong" }, "Those that are not perfect"),
    run.live_run ? make("option", { value: "differ" }, "Those that differ from the live version") : null);
  const show = () => {
    entries.forEach((element, n) => { element.hidden = !shown[choose.value](run.questions[n]); });
    count.textContent = `${entries.filter((e) => !e.hidden).length} of ${entries.length}`;
  };
  show();
  return [make("h2", { class: "part" }, "Questions"), make("div", { class: "choose" }, choose, count), ...entries];
}

function entry(question, run) {
  const { live } = question;
  const quality = question.figures.quality;
  const rows = [...(live?.figures.quality !== undefined ? [{ value: live.figures.quality, kind: "live" }] : []),
    ...(quality !== undefined ? [{ value: quality, kind: live && quality < live.figures.quality ? "worse" : "now" }] : [])];
  const element = make("details", { class: "question" },
    make("summary", {}, make("span", { class: "asked" }, question.question),
      rows.length ? bars(rows, `quality ${rows.map((r) => r.value.toFixed(2)).join(", now ")}`) : make("span"),
      make("strong", {}, quality === undefined ? "" : quality.toFixed(2))));
  element.addEventListener("toggle", () => {
    if (element.open && element.childElementCount === 1) element.append(...inside(question, run));
  });
  return element;
}

/** What was expected, and how it went, here and in the live version. */
function inside(question, run) {
  if (question.id.startsWith("withheld-")) return [make("p", { class: "hint" }, "This question is asked with access that you do not have.")];
  const expected = question.unanswerable ? ["The sources do not hold it."] : question.expected.length ? question.expected : question.answers;
  return [
    make("p", { class: "facts" }, `${question.id} · ${question.kind || "no kind"} · asked as ${question.groups.join(", ")}${question.clearance ? `, clearance ${question.clearance}` : ""}`),
    make("h3", {}, "Expected"), make("ul", {}, ...expected.map((text) => make("li", {}, text))),
    make("div", { class: question.live ? "beside" : "" },
      question.live ? went(`Live: ${run.live_run.index_version}`, question.live) : null, went(run.index_version, question)),
  ];
}

function went(title, result) {
  const outcome = { answered: "answered", not_in_sources: "not in the sources", failed: "failed" }[result.outcome] ?? result.outcome;
  const rank = result.rank ? `first expected passage at rank ${result.rank}` : result.expected.length ? "no expected passage found" : "";
  return make("section", {}, make("h3", {}, title),
    make("p", { class: "facts" }, [outcome, rank, result.timings.total ? `${millis(result.timings.total)} ms` : ""].filter(Boolean).join(" · ")),
    result.failed ? make("p", { class: "error-text" }, result.failed) : null,
    ...result.notices.map((text) => make("p", { class: "notice" }, text)),
    result.answer ? make("p", { class: "prose small" }, result.answer) : null,
    result.why ? make("p", { class: "facts" }, `Judge: ${result.why}`) : null,
    make("ol", { class: "found" }, ...result.found.map((f) => make("li", { class: f.expected ? "expected" : "" },
      f.passage ? `${f.document} / ${f.passage}` : f.document, f.expected ? make("span", { class: "visually-hidden" }, " (expected)") : null))),
    make("p", { class: "facts" }, Object.entries(result.figures).filter(([name]) => name !== "quality")
      .map(([name, value]) => `${nameOf(name)} ${value.toFixed(2)}`).join(" · ")));
}

const byName = (list) => new Map((list ?? []).map((item) => [item.name, item]));
