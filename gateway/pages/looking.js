/** The page of searches: a question with controls of its own, and the whole way to what it found. */

import { call } from "./api.js";
import { besides, conditions } from "./conditions.js";
import { $, make } from "./dom.js";
import { explained } from "./explain.js";
import { closePanel, openPanel } from "./panel.js";
import { hit } from "./search.js";
import { announce, arrive, countPending, openSide } from "./shell.js";

const state = { question: "", workspace: "", without: [], latest: 0 };
const SWITCHES = { plain_filters: true, decompose: false, expand: false, adaptive_depth: false };

async function start() {
  await arrive();
  countPending();
  const { workspaces } = await call("GET", "/v1/workspaces").catch(() => ({ workspaces: [] }));
  const shown = workspaces.length ? workspaces : [{ workspace: "sample", title: "" }];
  $("workspace").replaceChildren(...shown.map((w) => make("option", { value: w.workspace }, w.title || w.workspace)));
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (shown.some((w) => w.workspace === wanted.get("in"))) $("workspace").value = wanted.get("in");
  await reset();
  $("question").focus();
  if (wanted.get("q")) {
    $("question").value = wanted.get("q");
    begin();
  }
}

/** The controls as the workspace has them, or its defaults where it says nothing. */
async function reset() {
  const form = $("controls");
  form.reset();
  const said = await call("GET", `/v1/workspaces/${encodeURIComponent($("workspace").value)}`)
    .then((w) => w.recipe).catch(() => ({}));
  form.elements.dense_weight.value = said.dense_weight ?? 0.5;
  for (const [name, usual] of Object.entries(SWITCHES)) form.elements[name].checked = Boolean(said[name] ?? usual);
  for (const input of form.elements) if (input.name) input.dataset.own = "";
  tellScale();
}

function tellScale() {
  const input = $("controls").elements.dense_weight;
  input.nextElementSibling.textContent = Number(input.value).toFixed(2);
}

/** Only what somebody touched here is said; all else stays with the workspace and the index version. */
function recipe() {
  const said = {};
  for (const input of $("controls").elements) {
    if (!input.name || input.name === "limit" || !input.dataset.own) continue;
    if (input.type === "checkbox") said[input.name] = Number(input.checked);
    else if (input.value !== "") said[input.name] = Number(input.value);
  }
  return said;
}

function begin() {
  Object.assign(state, { question: $("question").value.trim(), workspace: $("workspace").value, without: [] });
  if (state.question) search();
}

async function search() {
  const turn = ++state.latest;
  closePanel(false);
  openSide(false);
  history.replaceState(null, "", `#${new URLSearchParams({ in: state.workspace, q: state.question })}`);
  $("welcome").hidden = true;
  $("found").hidden = false;
  $("found").replaceChildren(make("p", { class: "progress" }, "Searching…"));
  try {
    const found = await call("POST", "/v1/search", {
      workspace: state.workspace, question: state.question, explain: true, recipe: recipe(), without: state.without,
      limit: Number($("controls").elements.limit.value) || 10,
    });
    if (turn !== state.latest) return;
    draw(found);
  } catch (error) {
    if (turn !== state.latest) return;
    $("found").replaceChildren(make("div", { class: "failed", role: "alert" }, make("p", {}, error.message)));
    announce(error.message);
  }
}

function draw(found) {
  const again = (without) => {
    state.without = without;
    search();
  };
  const open = (source, from) => openPanel(state.workspace, source, null, from);
  $("found").replaceChildren(
    conditions(found.filters, state.without, again) ?? "",
    ...besides(found.notices, found.filters).map((n) => make("p", { class: "notice" }, n)),
    ...explained(found, open),
    make("h2", { class: "part" }, found.sources.length === 1 ? "1 passage" : `${found.sources.length} passages`),
    make("ul", { class: "hits" }, ...found.sources.map((source) => hit(source, state.workspace))));
  $("thread").scrollTop = 0;
  announce(`${found.sources.length} passages.`);
}

$("look").addEventListener("submit", (event) => {
  event.preventDefault();
  begin();
});
$("controls").addEventListener("input", (event) => {
  event.target.dataset.own = "yes";
  tellScale();
});
$("controls").addEventListener("change", () => { if (state.question) search(); });
$("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  if (state.question) search();
});
$("as-said").addEventListener("click", async () => {
  await reset();
  if (state.question) search();
});
$("workspace").addEventListener("change", reset);
$("panel-close").addEventListener("click", () => closePanel());
$("veil").addEventListener("click", () => closePanel());
document.addEventListener("keydown", (event) => { if (event.key === "Escape") closePanel(); });

start().catch((error) => {
  $("shell").hidden = false;
  $("welcome").append(make("div", { class: "failed", role: "alert" }, make("p", {}, error.message)));
});
