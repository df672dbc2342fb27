/** The page: who is here, what was asked before, asking and searching. */

import { Turn } from "./answer.js";
import { call, quoted } from "./api.js";
import { $, ago, make } from "./dom.js";
import { closePanel } from "./panel.js";
import { search } from "./search.js";
import { countPending, newId, showPages } from "./shell.js";
import { signedIn, signOut } from "./sign_in.js";
import { Connection } from "./socket.js";

const EXAMPLES = {
  sample: [
    "How many days of annual leave do full-time employees have?",
    "Which supplier contract has the longest notice period?",
    "What caused the Otter level drift incident?",
  ],
};

const state = { mode: "ask", workspace: "sample", conversation: null, last: null, running: null, curated: new Set() };

const options = { retry, anew: (turn) => retry(turn, turn.without, true), choose: (question) => submit(question, true), curates: (workspace) => state.curated.has(workspace) };

const connection = new Connection({
  onState: (connected) => {
    if (!connected && state.running) announce("The connection was lost; taking it up again.");
  },
  onSignedOut: () => location.reload(),
});

function announce(text) {
  $("live").textContent = text;
}

async function start() {
  const person = await signedIn();
  const address = new URLSearchParams(location.search);
  const then = address.get("then") ?? "";
  if (/^\/(tasks|approvals|evaluations|insights|caches|search)(#\S*)?$/.test(then)) {
    location.replace(then);
    return;
  }
  $("who").textContent = person.name;
  $("shell").hidden = false;
  await Promise.all([loadWorkspaces(), loadConversations()]);
  countPending();
  connection.connect();
  drawExamples();
  $("question").focus();
  if (address.get("ask")) {
    history.replaceState(null, "", "/");
    submit(address.get("ask"), true);
  }
}

async function loadWorkspaces() {
  const { workspaces } = await call("GET", "/v1/workspaces").catch(() => ({ workspaces: [] }));
  state.curated = showPages(workspaces);
  const shown = workspaces.length ? workspaces : [{ workspace: "sample", title: "" }];
  $("workspace").replaceChildren(...shown.map((w) => make("option", { value: w.workspace }, w.title || w.workspace)));
  state.workspace = shown.some((w) => w.workspace === state.workspace) ? state.workspace : shown[0].workspace;
  $("workspace").value = state.workspace;
}

async function loadConversations() {
  const { conversations } = await call("GET", "/v1/conversations").catch(() => ({ conversations: [] }));
  $("no-conversations").hidden = conversations.length > 0;
  $("conversations").replaceChildren(...conversations.map((c) => make("li", {}, make("button", {
    type: "button", title: c.title, "aria-current": String(c.conversation === state.conversation),
    onclick: () => openConversation(c.conversation),
  }, make("span", {}, c.title), make("time", {}, ago(c.asked_at))))));
}

function drawExamples() {
  $("examples").replaceChildren(...(EXAMPLES[state.workspace] ?? []).map((text) => make("li", {}, make("button", {
    type: "button", onclick: () => submit(text),
  }, text))));
}

/** A new conversation. An answer that is still being written goes on, and is found among the earlier ones. */
function begin() {
  Object.assign(state, { conversation: null, last: null, running: null });
  busy(false);
  $("turns").replaceChildren();
  $("welcome").hidden = false;
  $("follow-hint").hidden = true;
  closePanel(false);
  closeSide();
  markCurrent();
  $("question").focus();
}

function markCurrent() {
  for (const button of $("conversations").querySelectorAll("[aria-current=true]")) button.setAttribute("aria-current", "false");
}

async function openConversation(conversation) {
  begin();
  try {
    const { turns } = await call("GET", `/v1/conversations/${quoted(conversation)}`);
    const shown = turns.filter((turn) => turn.outcome !== "searched");
    $("welcome").hidden = true;
    $("turns").replaceChildren(...shown.map((turn) => Turn.finished(turn, options).element));
    const last = shown.at(-1);
    Object.assign(state, { conversation, last: last?.turn ?? null, workspace: last?.workspace ?? state.workspace });
    $("workspace").value = state.workspace;
    $("follow-hint").hidden = !last;
    await loadConversations();
    $("turns").lastElementChild?.scrollIntoView({ block: "start" });
  } catch (error) {
    $("turns").replaceChildren(make("div", { class: "failed", role: "alert" }, make("p", {}, error.message),
      make("button", { type: "button", onclick: () => openConversation(conversation) }, "Try again")));
  }
}

/** `plain`: it is a question, whatever the router would say. */
function submit(question, plain = false) {
  if (state.running || !question.trim()) return;
  $("question").value = "";
  grow();
  closePanel(false);
  $("welcome").hidden = true;
  if (state.mode === "search") find(question.trim());
  else ask(question.trim(), plain);
}

async function find(question) {
  const { element, finished } = await search(question, state.workspace);
  $("turns").replaceChildren(element);
  await finished;
  announce(element.querySelector(".hint, .failed")?.textContent ?? "");
}

async function ask(question, plain) {
  if (!state.conversation) $("turns").replaceChildren();
  if (!plain && !state.conversation) {
    const asked = (state.running = newId());
    const routed = await call("POST", "/v1/route", { text: question }).catch(() => null);
    if (state.running !== asked) return; // another conversation was begun
    state.running = null;
    if (routed?.kind === "task") {
      suggestTask(question, routed.why);
      return;
    }
  }
  const turn = new Turn(question, state.workspace, options);
  $("turns").append(turn.element);
  turn.element.scrollIntoView({ block: "start" });
  run(turn);
}

/** What reads like a task is not answered as a question before somebody says so. */
function suggestTask(goal, why) {
  const said = make("p", { class: "error-text", role: "alert" });
  const element = make("article", { class: "turn" }, make("h2", { tabIndex: -1 }, goal),
    make("div", { class: "absent" }, make("p", {}, make("strong", {}, "This reads like a task. "), why),
      make("div", { class: "choices" },
        make("button", { type: "button", class: "primary", onclick: async () => {
          try {
            const made = await call("POST", `/v1/workspaces/${quoted(state.workspace)}/tasks`, { goal, request_id: newId() });
            location.assign(`/tasks#${made.task}`);
          } catch (error) {
            said.textContent = error.message;
          }
        } }, "Start the task"),
        make("button", { type: "button", class: "stop", onclick: () => { element.remove(); ask(goal, true); } }, "Answer it as a question")), said));
  $("turns").append(element);
  announce(`This reads like a task. ${why}`);
  element.querySelector("button").focus();
}

/** `anew`: no earlier answer will do. */
function retry(turn, without = turn.without, anew = false) {
  if (state.running) return;
  const fresh = new Turn(turn.question, turn.workspace, options, without);
  fresh.follows = turn.follows; // not the answer whose place it takes
  turn.element.replaceWith(fresh.element);
  fresh.heading.focus();
  run(fresh, anew);
}

function run(turn, anew = false) {
  const request = newId();
  state.running = request;
  busy(true);
  announce("Asking.");
  const ask = { request_id: request, workspace: turn.workspace, question: turn.question, without: turn.without, anew };
  if (state.conversation) ask.conversation = state.conversation;
  if (turn.follows === undefined) turn.follows = state.last;
  if (turn.follows) ask.follows = turn.follows;
  connection.ask(ask, (message) => {
    turn.take(message);
    const ended = message.type === "done" || message.type === "error";
    if (ended) setTimeout(loadConversations, 1500); // the list is a second behind
    if (state.running !== request) return;
    if (message.type === "sources") announce(turn.stage);
    if (ended) finished(turn, message);
  });
}

function finished(turn, message) {
  state.running = null;
  busy(false);
  if (message.type === "done") {
    Object.assign(state, { conversation: turn.conversation, last: turn.answer });
    $("follow-hint").hidden = false;
    announce(turn.text);
  } else {
    announce(message.message);
  }
}

function busy(on) {
  $("stop").hidden = !on;
  $("send").disabled = on;
  $("workspace").disabled = on;
}

function setMode(mode) {
  state.mode = mode;
  $("mode-ask").setAttribute("aria-pressed", String(mode === "ask"));
  $("mode-search").setAttribute("aria-pressed", String(mode === "search"));
  $("send").textContent = mode === "ask" ? "Ask" : "Search";
  $("question").placeholder = mode === "ask" ? "Ask a question" : "Search passages";
  begin();
}

function grow() {
  const field = $("question");
  field.rows = 1;
  field.rows = Math.max(1, Math.min(8, Math.round((field.scrollHeight - 20) / 23)));
}

function closeSide() {
  $("side").classList.remove("open");
  $("menu").setAttribute("aria-expanded", "false");
  if ($("panel").hidden) $("veil").hidden = true;
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  submit($("question").value);
});
$("question").addEventListener("input", grow);
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit($("question").value);
  }
});
$("stop").addEventListener("click", () => connection.cancel(state.running));
$("new").addEventListener("click", begin);
$("mode-ask").addEventListener("click", () => setMode("ask"));
$("mode-search").addEventListener("click", () => setMode("search"));
$("workspace").addEventListener("change", () => {
  state.workspace = $("workspace").value;
  drawExamples();
  begin();
});
$("menu").addEventListener("click", () => {
  const open = $("side").classList.toggle("open");
  $("menu").setAttribute("aria-expanded", String(open));
  $("veil").hidden = !open;
  if (open) $("new").focus();
});
$("panel-close").addEventListener("click", () => closePanel());
$("veil").addEventListener("click", () => { if (!closePanel()) closeSide(); });
$("sign-out").addEventListener("click", signOut);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || closePanel() || !$("side").classList.contains("open")) return;
  closeSide();
  $("menu").focus();
});

start().catch((error) => {
  $("sign-in").hidden = false;
  $("sign-in-error").textContent = error.message;
});
