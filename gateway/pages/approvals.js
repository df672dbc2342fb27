/** The page of approvals: the queue, what was decided, and the proposal that is looked at. Live, without a reload. */

import { call, callText, quoted } from "./api.js";
import { $, ago, make } from "./dom.js";
import { Live } from "./live.js";
import { ProposalView, STATUS_WORDS, titleOf } from "./proposal.js";
import { announce, arrive, openSide, showPending } from "./shell.js";

const state = { queue: [], mine: [], decided: [], selected: null, view: null, marked: new Set(), person: null };

async function start() {
  state.person = { ...(await arrive()), ...(await call("GET", "/v1/me")) };
  new Live({ onMessage: take, onState: (on) => { if (on) load(); } }).watchApprovals();
  await load();
  await follow();
  if (!state.selected && state.queue.length) location.replace(`#${state.queue[0].approval}`);
}

async function load() {
  const [pending, mine, decided] = await Promise.all(["pending", "mine", "decided"].map((status) =>
    call("GET", `/v1/approvals?status=${status}`).then((r) => r.approvals).catch(() => null)));
  if (pending) state.queue = merged(state.queue, pending, (d) => d.may_decide);
  if (mine) state.mine = mine.filter((d) => !d.may_decide);
  if (decided) state.decided = decided;
  drawLists();
}

/** The view is up to a second behind what the socket has said a moment ago. */
function merged(known, found, wanted) {
  const recent = known.filter((d) => d.heard > Date.now() - 3000 && !found.some((f) => f.approval === d.approval));
  return [...found.filter((d) => !isDecided(d.approval)), ...recent].filter(wanted);
}

const isDecided = (approval) => state.decided.some((d) => d.approval === approval && d.heard > Date.now() - 3000);

/** A proposal was made, or has been decided by whomever. */
function take(message) {
  if (message.type !== "approval") return;
  const decision = { ...message, heard: Date.now() };
  for (const list of ["queue", "mine", "decided"]) state[list] = state[list].filter((d) => d.approval !== decision.approval);
  if (decision.status !== "pending") {
    state.decided.unshift(decision);
    state.marked.delete(decision.approval);
  } else if (decision.may_decide) {
    state.queue.push(decision);
    announce(`New proposal: ${titleOf(decision)}.`);
  } else if (decision.owner.subject === state.person.subject) {
    state.mine.push(decision);
  }
  drawLists();
  if (decision.approval === state.selected) state.view?.show(decision);
  else if (!state.selected && decision.may_decide) location.replace(`#${decision.approval}`);
}

function drawLists() {
  showPending(state.queue.length);
  $("no-queue").hidden = state.queue.length > 0;
  $("no-decided").hidden = state.decided.length > 0;
  $("mine-head").hidden = !state.mine.length;
  $("welcome-head").textContent = state.queue.length ? "Choose a proposal" : "Nothing waits for you";
  const held = document.activeElement?.dataset?.key;
  $("queue").replaceChildren(...state.queue.map((d) => entry(d, true)));
  $("mine").replaceChildren(...state.mine.map((d) => entry(d)));
  $("decided").replaceChildren(...state.decided.map((d) => entry(d)));
  if (held && !document.activeElement?.dataset?.key) document.querySelector(`#side [data-key="${CSS.escape(held)}"]`)?.focus();
  drawBatch();
}

function entry(decision, markable = false) {
  const chosen = [...state.marked].map((a) => state.queue.find((d) => d.approval === a)).find(Boolean);
  const several = state.queue.filter((d) => d.kind === "call" && d.tool === decision.tool).length > 1;
  return make("li", { class: "with-mark" },
    markable && several && decision.kind === "call" ? make("input", {
      type: "checkbox", "data-key": `mark-${decision.approval}`, checked: state.marked.has(decision.approval),
      "aria-label": `Decide about ${titleOf(decision)} together with others`,
      disabled: Boolean(chosen) && chosen.tool !== decision.tool,
      onchange: (event) => { state.marked[event.target.checked ? "add" : "delete"](decision.approval); drawLists(); },
    }) : null,
    make("a", { href: `#${decision.approval}`, "data-key": decision.approval, title: decision.goal,
      "aria-current": String(decision.approval === state.selected) },
    make("span", {}, make("strong", {}, titleOf(decision)), ` ${decision.goal}`),
    make("span", { class: "line" }, `${decision.status === "pending" ? "" : `${STATUS_WORDS[decision.status]} · `}${decision.owner.name} · `,
      make("time", {}, ago(decision.decided_at || decision.created_at)))));
}

function drawBatch() {
  const chosen = state.queue.filter((d) => state.marked.has(d.approval));
  $("batch").hidden = chosen.length < 2;
  if (chosen.length > 1) $("batch-what").replaceChildren(`${chosen.length} proposals of `, make("code", {}, chosen[0].tool), ". Look at each before you decide.");
}

$("batch").addEventListener("submit", async (event) => {
  event.preventDefault();
  const chosen = state.queue.filter((d) => state.marked.has(d.approval));
  $("batch-said").textContent = "";
  try {
    const { verdicts } = await call("POST", "/v1/approvals/verdicts", {
      choice: event.submitter.value, reason: $("batch-reason").value,
      verdicts: chosen.map((d) => ({ approval: d.approval, args_hash: d.args_hash })),
    });
    const refused = verdicts.filter((v) => v.error);
    $("batch-said").textContent = refused.map((v) => v.error.message).join(" ");
    announce(`${verdicts.length - refused.length} decided.`);
    state.marked.clear();
    $("batch-reason").value = "";
  } catch (error) {
    $("batch-said").textContent = error.message;
  }
  drawLists();
});

/** Shows the proposal that the address names. */
async function follow() {
  const approval = decodeURIComponent(location.hash.slice(1));
  Object.assign(state, { selected: approval || null, view: null });
  $("welcome").hidden = Boolean(approval);
  $("proposal").hidden = !approval;
  $("proposal").replaceChildren();
  openSide(false);
  drawLists();
  if (!approval) return;
  try {
    const decision = await call("GET", `/v1/approvals/${quoted(approval)}`);
    if (state.selected !== approval) return;
    state.view = new ProposalView($("proposal"), { verdict, budget, person: state.person });
    state.view.show(decision);
    $("thread").scrollTop = 0;
  } catch (error) {
    if (state.selected !== approval) return;
    $("proposal").replaceChildren(make("div", { class: "failed", role: "alert" }, make("p", {}, error.message),
      make("button", { type: "button", onclick: follow }, "Try again")));
  }
}

/** `changed`: other arguments, as JSON text that is sent as it is, so that no digit is lost. */
async function verdict(approval, body, changed) {
  const path = `/v1/approvals/${quoted(approval)}/verdict`;
  const reply = changed === null ? await call("POST", path, body)
    : await callText("POST", path, `${JSON.stringify(body).slice(0, -1)},"arguments":${changed}}`);
  announce(reply.message || "Decided.");
  return reply;
}

async function budget(task, body) {
  const reply = await call("POST", `/v1/tasks/${quoted(task)}/budget`, body);
  announce(reply.message || "Added.");
  return reply;
}

function move(by) {
  const places = state.queue.map((d) => d.approval);
  if (!places.length) return;
  const at = places.indexOf(state.selected);
  location.hash = places[at < 0 ? 0 : Math.max(0, Math.min(places.length - 1, at + by))];
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
  if (typing || event.metaKey || event.ctrlKey || event.altKey) return;
  const acts = {
    j: () => move(1), k: () => move(-1),
    a: () => $("proposal").querySelector("[data-key=decide-first]")?.focus(),
    r: () => $("proposal").querySelector("[data-key=reason]")?.focus(),
  };
  if (acts[event.key]) {
    event.preventDefault();
    acts[event.key]();
  }
});
addEventListener("hashchange", follow);

start().catch((error) => {
  $("shell").hidden = false;
  $("welcome").append(make("div", { class: "failed", role: "alert" }, make("p", {}, error.message)));
});
