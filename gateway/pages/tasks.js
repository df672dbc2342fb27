/** The page of tasks: the list, asking for one, and the one that is looked at. */

import { call, quoted } from "./api.js";
import { $, ago, make } from "./dom.js";
import { Live } from "./live.js";
import { announce, arrive, countPending, newId, openSide } from "./shell.js";
import { TaskView, WORDS } from "./task.js";

const EXAMPLES = {
  sample: [
    "Compare the three supplier contracts on price, term, notice and liability in a table and email it to purchasing",
    "Compare the three supplier contracts on price, term, notice and liability in a table",
    "Find and summarise what went wrong in the incidents of 2026",
  ],
};
const CATCH_UP = [250, 600, 1200, 2500, 5000, 5000, 5000, 5000, 5000, 5000];

const state = { task: null, view: null, workspace: "sample", tries: 0, timer: null, last: -1, events: 0, took: 0 };
let live;

async function start() {
  const person = await arrive();
  state.person = person;
  live = new Live({ onMessage: take, onState: (on) => { if (on) refresh(); } });
  live.watchApprovals();
  await Promise.all([loadWorkspaces(), loadTasks(), countPending()]);
  drawExamples();
  await follow();
  if (!state.task) $("goal").focus();
}

async function loadWorkspaces() {
  const { workspaces } = await call("GET", "/v1/workspaces").catch(() => ({ workspaces: [] }));
  const shown = workspaces.length ? workspaces : [{ workspace: "sample", title: "" }];
  $("workspace").replaceChildren(...shown.map((w) => make("option", { value: w.workspace }, w.title || w.workspace)));
  state.workspace = shown.some((w) => w.workspace === state.workspace) ? state.workspace : shown[0].workspace;
  $("workspace").value = state.workspace;
}

async function loadTasks() {
  const found = await call("GET", "/v1/tasks").catch(() => null);
  if (!found) return; // what is there stays
  const { tasks } = found;
  $("no-tasks").hidden = tasks.length > 0;
  $("tasks").replaceChildren(...tasks.map((task) => make("li", {}, make("a", {
    href: `#${task.task}`, title: task.goal, "aria-current": String(task.task === state.task),
  }, make("span", {}, task.goal), make("span", { class: "line" },
    make("span", { class: `dot ${task.status}` }), `${WORDS[task.status] ?? task.status} · `,
    make("time", {}, ago(task.updated_at)))))));
}

function drawExamples() {
  $("examples").replaceChildren(...(EXAMPLES[state.workspace] ?? []).map((text) => make("li", {}, make("button", {
    type: "button", onclick: () => { $("goal").value = text; grow(); $("goal").focus(); },
  }, text))));
}

/** Shows the task that the address names, or the form for a new one. */
async function follow() {
  const task = decodeURIComponent(location.hash.slice(1));
  clearTimeout(state.timer);
  Object.assign(state, { task: task || null, view: null, last: -1, events: 0, tries: 0, timer: null });
  live.watch(state.task);
  $("welcome").hidden = Boolean(task);
  $("task").hidden = !task;
  $("task").replaceChildren();
  $("routed").replaceChildren();
  for (const link of $("tasks").querySelectorAll("a")) link.setAttribute("aria-current", String(link.hash === location.hash && Boolean(task)));
  openSide(false);
  compose();
  if (task) await refresh();
}

/** Reads the task again, until what is known to have happened is in it. */
async function refresh() {
  const name = state.task;
  if (!name) return;
  const since = performance.now();
  try {
    const task = await call("GET", `/v1/tasks/${quoted(name)}`);
    state.took = performance.now() - since;
    if (state.task !== name) return;
    if (!state.view) state.view = new TaskView($("task"), { act, approvals: "/approvals" });
    state.view.show(task);
    compose();
    const behind = task.last < state.last || task.read < Math.max(task.events, state.events);
    if (behind && state.tries < CATCH_UP.length) later();
    else state.tries = 0;
  } catch (error) {
    if (state.task !== name) return;
    if (error.status === 404 && state.tries < CATCH_UP.length) later(); // asked for a moment ago
    else if (!state.view) {
      $("task").replaceChildren(make("div", { class: "failed", role: "alert" }, make("p", {}, error.message),
        make("button", { type: "button", onclick: () => { state.tries = 0; refresh(); } }, "Try again")));
    }
  }
}

/** One reading is always under way or to come while something is missing; events that come fast do not put it off. */
function later() {
  if (state.timer) return;
  const pause = CATCH_UP[Math.min(state.tries++, CATCH_UP.length - 1)];
  state.timer = setTimeout(() => {
    state.timer = null;
    refresh();
  }, Math.max(pause, 3 * state.took)); // a long transcript is not read without a break
}

function take(message) {
  if (message.type === "approval") {
    countPending();
    if (message.task === state.task) later();
  } else if (message.type === "error" && message.code === "not_found" && message.task === state.task) {
    setTimeout(() => { if (state.task === message.task) live.watch(state.task); }, 1000);
  } else if (message.task !== state.task || !state.task) {
    return;
  } else if (message.type === "task") {
    const before = state.view?.task.status;
    state.events = Math.max(state.events, message.events);
    state.view?.live(message);
    if (before && before !== message.status) announce(`The task: ${WORDS[message.status] ?? message.status}.`);
    if (before !== message.status) listSoon();
    compose();
    state.tries = 0;
    later();
  } else if (message.type === "event") {
    state.last = Math.max(state.last, message.offset);
    state.tries = 0;
    later();
  }
}

/** Reads the list again once nothing has changed for a moment: it is a second behind. */
function listSoon() {
  clearTimeout(state.listing);
  state.listing = setTimeout(loadTasks, 1200);
}

/** Something the person does to the task: `act("cancel", {reason})`. Resolves to what the engine said. */
async function act(what, body) {
  const name = state.task;
  const reply = await call("POST", `/v1/tasks/${quoted(name)}/${what}`, { request_id: newId(), ...body });
  if (what === "fork") {
    location.hash = reply.task;
    listSoon();
  } else {
    announce(reply.message || "Done.");
    refresh();
  }
  return reply;
}

/** The field at the bottom begins a task, or tells the one that is looked at something. */
function compose() {
  const task = state.view?.task;
  const talking = Boolean(state.task);
  $("compose").hidden = talking && (!task || !task.live || task.status === "stopping" || task.status === "undoing");
  $("workspace-label").hidden = talking;
  $("goal").placeholder = !talking ? "Describe a task" : task?.status === "asking" ? "Answer the question" : "Tell the task something";
  $("goal-label").textContent = talking ? "A message to the task" : "What should be done";
  $("send").textContent = talking ? "Send" : "Start";
}

async function submit(anyway = false) {
  const text = $("goal").value.trim();
  if (!text || $("send").disabled) return;
  $("send").disabled = true;
  $("routed").replaceChildren();
  try {
    if (state.task) {
      await act("messages", { text });
      $("goal").value = "";
    } else {
      const routed = anyway ? null : await call("POST", "/v1/route", { text }).catch(() => null);
      if (routed?.kind === "question") {
        suggest(text, routed.why);
        return;
      }
      const made = await call("POST", `/v1/workspaces/${quoted(state.workspace)}/tasks`, { goal: text, request_id: newId() });
      $("goal").value = "";
      location.hash = made.task;
      listSoon();
    }
  } catch (error) {
    say(error.message);
  } finally {
    $("send").disabled = false;
    grow();
  }
}

function suggest(text, why) {
  $("routed").replaceChildren(make("div", { class: "callout", role: "status" },
    make("p", {}, make("strong", {}, "This is a question, so no task was started. "), why),
    make("div", { class: "buttons" },
      make("a", { class: "primary button", href: `/?ask=${encodeURIComponent(text)}` }, "Ask it"),
      make("button", { type: "button", class: "secondary", onclick: () => submit(true) }, "Start a task all the same"))));
  $("routed").querySelector("a").focus();
}

function say(text) {
  const where = state.task ? $("task") : $("routed");
  where.querySelector(":scope > .failed")?.remove();
  where.append(make("div", { class: "failed", role: "alert" }, make("p", {}, text)));
  where.lastElementChild.scrollIntoView({ block: "nearest" });
}

function grow() {
  const field = $("goal");
  field.rows = 1;
  field.rows = Math.max(1, Math.min(8, Math.round((field.scrollHeight - 20) / 23)));
}

$("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
$("goal").addEventListener("input", grow);
$("goal").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  }
});
$("new").addEventListener("click", () => {
  if (location.hash) location.hash = "";
  else follow();
  $("goal").focus();
});
$("workspace").addEventListener("change", () => {
  state.workspace = $("workspace").value;
  drawExamples();
});
addEventListener("hashchange", follow);

start().catch((error) => {
  $("shell").hidden = false;
  say(error.message);
});
