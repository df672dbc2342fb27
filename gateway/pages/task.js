/** One task on the page: how it stands, its steps, its result. Drawn from a state, not patched. */

import { quoted } from "./api.js";
import { ago, make } from "./dom.js";
import { draw as drawExact, parse, visible } from "./exact.js";
import { prose } from "./prose.js";

export const WORDS = {
  planning: "planning", acting: "working", deciding: "waiting for an approval", asking: "waiting for an answer",
  paused: "out of budget", stopping: "stopping", undoing: "asking what to take back", succeeded: "done",
  failed: "failed", cancelled: "cancelled",
};
const CALL_WORDS = {
  planned: "planned", proposed: "waits for approval", running: "running", backoff: "tries again soon",
  unknown: "outcome unknown", succeeded: "done", failed: "failed", denied: "denied", dropped: "not run",
};
const NOTES = {
  message: "said", cancel: "cancelled the task", budget: "added budget", verdict: "decided", undo: "Taking back",
  taken_back: "Taken back", planner_failed: "The planner failed",
};

export const money = (micros) => (micros / 1e6).toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 4 });
export const duration = (seconds) => {
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
};
export const size = (bytes) => (bytes < 1024 ? `${bytes} bytes` : bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1048576).toFixed(1)} MB`);

export class TaskView {
  /** `act(what, body)` does something to the task. */
  constructor(element, { act }) {
    Object.assign(this, { element, act, task: null, open: new Set(), form: null, error: "", busy: false });
  }

  /** Takes the whole task. */
  show(task) {
    this.task = task;
    this.draw();
  }

  /** Takes what the socket says of it: how it stands, and the calls of its current step. */
  live(message) {
    if (!this.task || message.updated_at < this.task.updated_at) return;
    const { calls, type, ...standing } = message;
    Object.assign(this.task, standing);
    const step = this.task.steps.find((s) => s.step === message.step);
    for (const call of calls) {
      const shown = step?.calls.find((c) => c.index === call.index);
      if (shown) Object.assign(shown, { status: call.status, attempt: call.attempt });
    }
    this.draw();
  }

  draw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      const active = document.activeElement;
      const held = this.element.contains(active) ? active.dataset.key : null;
      const written = new Map([...this.element.querySelectorAll("input[data-key], textarea[data-key]")].map((e) => [e.dataset.key, e.value]));
      this.element.replaceChildren(...this.#parts().filter(Boolean));
      for (const [key, value] of written) {
        const field = this.element.querySelector(`[data-key="${CSS.escape(key)}"]`);
        if (field) field.value = value;
      }
      if (held) this.element.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
    });
  }

  #parts() {
    const task = this.task;
    return [
      this.#head(),
      this.#waiting(),
      this.error ? make("div", { class: "failed", role: "alert" }, make("p", {}, this.error)) : null,
      this.#form(),
      ...(task.live ? [] : this.#result()),
      task.artefacts.length ? this.#artefacts() : null,
      make("h2", { class: "part" }, task.steps.length ? "Steps" : "No step yet"),
      this.#notesAfter(0),
      make("ol", { class: "steps" }, ...task.steps.flatMap((step) => [this.#step(step), this.#notesAfter(step.step, "li")]).filter(Boolean)),
    ];
  }

  #head() {
    const { task } = this;
    const { spent, limits } = task;
    const facts = [
      `${spent.steps} of ${limits.steps} steps`,
      spent.tokens ? `${spent.tokens.toLocaleString()} of ${limits.tokens.toLocaleString()} tokens` : null,
      spent.micros ? `cost ${money(spent.micros)} of ${money(limits.micros)}` : null,
      duration(Math.max(1, Math.round((task.updated_at - task.requested_at) / 1000))),
      `asked for ${ago(task.requested_at)} by ${task.owner.name}`,
    ].filter(Boolean);
    return make("header", { class: "task-head" },
      make("h1", { tabIndex: -1 }, task.goal),
      make("p", { class: "standing" }, chip(task.status, WORDS[task.status]), make("span", { class: "facts" }, facts.join(" · "))),
      task.forked_from ? make("p", { class: "hint" }, "Goes on from ", make("a", { href: `#${task.forked_from}` }, "another task"), ".") : null,
      make("div", { class: "buttons" },
        task.live ? this.#button("Cancel", "cancel") : null,
        task.live && task.may_add_budget ? this.#button("Add budget", "budget") : null));
  }

  #button(label, form) {
    return make("button", {
      type: "button", class: "secondary", "data-key": `do-${form}`, "aria-expanded": String(this.form === form),
      onclick: () => { this.form = this.form === form ? null : form; this.error = ""; this.draw(); },
    }, label);
  }

  #waiting() {
    const { task } = this;
    if (task.status === "asking") return make("div", { class: "callout" }, make("strong", {}, "The task asks: "), task.text);
    const proposals = (task.proposals ?? []).filter((p) => p.status === "pending");
    if (!task.live || !proposals.length) return task.live && task.status === "paused" ? make("div", { class: "callout" }, task.text) : null;
    return make("div", { class: "callout" }, ...proposals.map((p) => make("p", {},
      make("strong", {}, { budget: "The budget is used up. ", unknown: "The outcome is not known. ", undo: "To be taken back? ", call: "Waits for an approval. " }[p.kind]),
      p.kind === "budget" ? `${p.reason}. ` : make("code", {}, p.tool), " ",
      make("a", { href: `/approvals#${p.approval}` }, p.may_decide ? "Decide" : "See the proposal"),
      p.may_decide ? null : make("span", { class: "hint" }, ` Somebody of “${p.approvers}” decides.`))));
  }

  #form() {
    if (!this.form || !this.task.live) return null;
    const send = async (event) => {
      event.preventDefault();
      const fields = Object.fromEntries([...event.target.querySelectorAll("[name]")].map((f) => [f.name, f.value]));
      const body = this.form === "cancel" ? { reason: fields.reason } : Object.fromEntries(
        Object.entries(fields).filter(([, v]) => Number(v) > 0).map(([k, v]) => (k === "money" ? ["micros", Math.round(Number(v) * 1e6)] : [k, Math.round(Number(v))])));
      await this.#do(this.form, body);
    };
    const field = (name, label, step = "1") => make("label", {}, label,
      make("input", { name, type: "number", min: "0", step, inputMode: "decimal", "data-key": `f-${name}` }));
    return this.form === "cancel"
      ? make("form", { class: "inline", onsubmit: send },
        make("label", {}, "Why", make("input", { name: "reason", maxLength: 4000, "data-key": "f-reason" })),
        make("button", { type: "submit", class: "danger", "data-key": "f-go", disabled: this.busy }, "Cancel the task"))
      : make("form", { class: "inline", onsubmit: send },
        field("steps", "Steps"), field("tokens", "Tokens"), field("money", "Money", "any"), field("seconds", "Seconds"),
        make("button", { type: "submit", class: "primary", "data-key": "f-go", disabled: this.busy }, "Add"));
  }

  async #do(what, body) {
    Object.assign(this, { busy: true, error: "" });
    this.draw();
    try {
      await this.act(what, body);
      this.form = null;
    } catch (error) {
      this.error = error.message;
    }
    this.busy = false;
    this.draw();
  }

  #result() {
    const { task } = this;
    const label = { succeeded: "Result", failed: "It did not work", cancelled: "Cancelled" }[task.status];
    return [make("section", { class: `result ${task.status}` }, make("h2", { class: "part" }, label),
      make("div", { class: "prose" }, ...prose(task.text || "There is nothing to show.")))];
  }

  #artefacts() {
    return make("section", { class: "artefacts" }, make("h2", { class: "part" }, "Files"), make("ul", {}, ...this.task.artefacts.map((a) => make("li", {},
      make("a", { class: "file", href: `/v1/tasks/${quoted(this.task.task)}/artefacts/${quoted(a.name)}`, download: a.name },
        make("span", { class: "title" }, a.name), make("span", { class: "hint" }, `${a.media_type.split(";")[0]} · ${size(a.size)}`))))));
  }

  #step(step) {
    const over = step.calls.every((c) => ["succeeded", "failed", "denied", "dropped"].includes(c.status));
    const cost = [
      step.seconds >= 0.001 ? `planned in ${duration(step.seconds)}` : null,
      step.tokens_in + step.tokens_out ? `${(step.tokens_in + step.tokens_out).toLocaleString()} tokens` : null,
      step.micros ? money(step.micros) : null,
    ].filter(Boolean).join(" · ");
    return make("li", { class: "step" },
      make("div", { class: "step-head" },
        make("h3", {}, `Step ${step.step}`), make("span", { class: "hint" }, cost),
        step.calls.length && over ? make("button", {
          type: "button", class: "quiet", "data-key": `fork-${step.step}`, disabled: this.busy,
          title: "A new task that goes on from here", onclick: () => this.#do("fork", { step: step.step }),
        }, "Fork from here") : null),
      step.text && step.end !== "answer" ? make("p", { class: "thought" }, step.text) : null,
      step.end === "answer" ? make("p", { class: "thought" }, "The result was given.") : null,
      step.calls.length ? make("ul", { class: "calls" }, ...step.calls.map((c) => make("li", {}, this.#call(step, c)))) : null);
  }

  #call(step, call) {
    const key = `call-${step.step}-${call.index}`;
    const spent = [call.attempt > 1 ? `${call.attempt} tries` : null, call.at ? duration(call.seconds) : null,
      call.micros ? money(call.micros) : null].filter(Boolean).join(" · ");
    return make("details", {
      class: `call ${call.status}`, open: this.open.has(key),
      ontoggle: (event) => { if (event.currentTarget.open) this.open.add(key); else this.open.delete(key); },
    },
    make("summary", { "data-key": key },
      make("span", { class: "call-line" }, make("code", {}, call.tool), chip(call.status, CALL_WORDS[call.status]),
        make("span", { class: "hint spent" }, spent)),
      call.reason ? make("span", { class: "why" }, call.reason) : null,
      call.error || call.invalid ? make("span", { class: "error-text" }, call.error || call.invalid) : null),
    make("h4", {}, "Arguments"), exact(call.arguments),
    call.content ? make("h4", {}, "Result") : null,
    call.content ? result(call.content) : null,
    ...call.approvals.map((a) => make("p", { class: "hint" }, make("a", { href: `/approvals#${a}` }, "The proposal and who decided"))));
  }

  #notesAfter(step, tag = "p") {
    const notes = this.task.notes.filter((n) => n.after === step);
    if (!notes.length) return null;
    return make(tag === "li" ? "li" : "div", { class: "notes" }, ...notes.map((n) => make("p", { class: "note" },
      n.person ? make("strong", {}, `${n.person} `) : null, `${NOTES[n.kind] ?? n.kind}${n.text ? ": " : ""}`, ...visible(n.text),
      make("time", {}, ` · ${ago(n.at)}`))));
  }
}

export function chip(status, text) {
  return make("span", { class: `chip ${status}` }, text ?? status);
}

/** Arguments as they are; what is no JSON is shown as text. */
export function exact(text) {
  if (!text) return make("p", { class: "hint" }, "none");
  try {
    return make("div", { class: "exact" }, drawExact(parse(text)));
  } catch {
    return make("div", { class: "exact" }, ...visible(text));
  }
}

function result(content) {
  if (/^\s*[[{]/.test(content)) return exact(content);
  return make("div", { class: "prose small" }, ...prose(content.length > 20000 ? `${content.slice(0, 20000)}\n…` : content));
}
