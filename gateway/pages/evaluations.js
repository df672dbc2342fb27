/** The page of evaluations: the runs at the side, one report. Drawn once from what the gateway says. */

import { call, quoted } from "./api.js";
import { $, ago, make } from "./dom.js";
import { report } from "./report.js";
import { announce, arrive, countPending, openSide } from "./shell.js";

const state = { runs: [], selected: null };

async function start() {
  await arrive();
  countPending();
  const [runs, sets] = await Promise.all([
    call("GET", "/v1/evaluations").then((r) => r.evaluations), call("GET", "/v1/golden").then((r) => r.sets)]);
  state.runs = runs;
  $("no-runs").hidden = runs.length > 0;
  $("no-sets").hidden = sets.length > 0;
  $("sets").replaceChildren(...sets.map((s) => make("li", { class: "set" }, make("strong", {}, s.set),
    make("span", { class: "line" }, `version ${s.version}, ${s.count} questions · ${s.by}, ${ago(s.at)}`))));
  await follow();
  if (!state.selected && runs.length) location.replace(`#${runs[0].run}`);
}

function drawRuns() {
  $("runs").replaceChildren(...state.runs.map((run) => make("li", {}, make("a", {
    href: `#${run.run}`, "aria-current": String(run.run === state.selected),
  }, make("span", {}, make("strong", {}, `${run.index}/${run.index_version}`), ` ${run.set} v${run.set_version}`),
  make("span", { class: "line" }, verdictWord(run), make("time", {}, ago(run.ended_at)))))));
}

function verdictWord(run) {
  if (run.passed === null) return run.live ? "live · " : "";
  return make("span", {}, make("span", { class: run.passed ? "dot succeeded" : "dot refused" }), run.passed ? "passed · " : "refused · ");
}

/** Shows the run that the address names. */
async function follow() {
  const run = decodeURIComponent(location.hash.slice(1));
  if (run === "report") return; // the way past the navigation
  state.selected = run || null;
  $("welcome").hidden = Boolean(run);
  $("report").hidden = !run;
  $("report").replaceChildren();
  openSide(false);
  drawRuns();
  if (!run) return;
  try {
    const found = await call("GET", `/v1/evaluations/${quoted(run)}`);
    if (state.selected !== run) return;
    $("report").replaceChildren(...report(found));
    $("thread").scrollTop = 0;
    announce(`${found.set} on ${found.index_version}: ${found.questions.length} questions.`);
  } catch (error) {
    if (state.selected !== run) return;
    $("report").replaceChildren(make("div", { class: "failed", role: "alert" }, make("p", {}, error.message),
      make("button", { type: "button", onclick: follow }, "Try again")));
  }
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select") || event.metaKey || event.ctrlKey || event.altKey) return;
  const by = { j: 1, k: -1 }[event.key];
  if (!by) return;
  const all = [...$("report").querySelectorAll(".question:not([hidden]) > summary")];
  if (!all.length) return;
  event.preventDefault();
  const at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + by))];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
});
addEventListener("hashchange", follow);

start().catch((error) => {
  $("shell").hidden = false;
  $("welcome").append(make("div", { class: "failed", role: "alert" }, make("p", {}, error.message)));
});
