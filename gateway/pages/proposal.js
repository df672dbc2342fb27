/** One proposal: what would be done, why, what led there, the full arguments, and the decision. */

import { ago, make } from "./dom.js";
import { indented, parse, visible } from "./exact.js";
import { chip, exact } from "./task.js";

export const STATUS_WORDS = {
  pending: "to decide", approved: "approved", denied: "denied", expired: "expired", withdrawn: "withdrawn",
  replaced: "replaced by a changed one",
};
const CHOICES = {
  call: { approve: ["Approve", "primary"], deny: ["Deny", "danger"] },
  undo: { approve: ["Take it back", "primary"], deny: ["Leave it as it is", "secondary"] },
  unknown: { done: ["It was done", "primary"], again: ["Try again: it may happen twice", "danger"], stop: ["Stop the task", "secondary"] },
  budget: { stop: ["Finish with what it has", "danger"] },
};
const CHOSEN = { approve: "approved", deny: "denied", done: "said that it was done", again: "let it try again", stop: "stopped it" };
const RISKS = { read: "only reads", write: "can be undone", irreversible: "cannot be undone" };
const CALL_WORDS = { succeeded: "done", failed: "failed", denied: "denied", dropped: "not run", proposed: "waits too",
  running: "running", planned: "planned", backoff: "tries again", unknown: "outcome unknown" };

export function titleOf(decision) {
  return { call: decision.tool, unknown: `${decision.tool}: was it done?`, undo: `Take back: ${decision.tool}`,
    budget: "More budget?" }[decision.kind];
}

export class ProposalView {
  /** `verdict(approval, body, changed)` decides; `budget(task, body)` adds. */
  constructor(element, { verdict, budget, person }) {
    Object.assign(this, { element, verdict, budget, person, decision: null, editing: false, said: "", error: "", busy: false });
  }

  show(decision) {
    this.decision = { ...this.decision, ...decision };
    this.#draw();
  }

  #draw() {
    const held = this.element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const written = new Map([...this.element.querySelectorAll("[data-key][name]")].map((e) => [e.dataset.key, e.value]));
    this.element.replaceChildren(...this.#parts().filter(Boolean));
    for (const [key, value] of written) {
      const field = this.element.querySelector(`[data-key="${key}"]`);
      if (field) field.value = value;
    }
    if (held) this.element.querySelector(`[data-key="${held}"]`)?.focus();
  }

  #parts() {
    const d = this.decision;
    const pending = d.status === "pending";
    this.own = d.owner.subject === this.person.subject;
    return [
      make("header", { class: "task-head" },
        make("h1", {}, ...this.#question()),
        make("p", { class: "standing" }, d.kind === "budget" ? null : chip(d.risk, RISKS[d.risk]),
          pending ? null : chip(d.status, STATUS_WORDS[d.status]), make("span", { class: "facts" }, this.#facts()))),
      d.warning && pending && d.kind !== "call" ? make("p", { class: "notice" }, d.warning) : null,
      make("dl", { class: "about" },
        make("dt", {}, "Task"), make("dd", {}, ...visible(d.goal), this.own || this.person.admin ? make("a", { class: "more", href: `/tasks#${d.task}` }, "See its steps") : null),
        make("dt", {}, "Why"), make("dd", {}, ...visible(d.reason || "no reason was given")),
        ...(d.editor ? [make("dt", {}, "Changed by"), make("dd", {}, d.editor)] : []),
        make("dt", {}, "Decides"), make("dd", {}, `somebody of “${d.approvers}”${d.by_owner ? "" : ", not who asked for the task"}`)),
      d.trail.length ? make("h2", { class: "part" }, `What led here, in step ${d.step}`) : null,
      d.trail.length ? make("ol", { class: "trail" }, ...d.trail.map((t) => make("li", {}, make("code", {}, t.tool), " ",
        chip(t.status, CALL_WORDS[t.status]), t.reason ? make("span", { class: "why" }, ...visible(t.reason)) : null))) : null,
      make("h2", { class: "part" }, d.kind === "budget" ? "The budget" : "With exactly these arguments"),
      exact(d.arguments),
      make("details", { class: "raw", open: this.rawOpen, ontoggle: (e) => { this.rawOpen = e.currentTarget.open; } },
        make("summary", {}, "As text, with its hash"), make("pre", {}, ...visible(d.arguments)), make("p", { class: "hint" }, "SHA-256 ", make("code", {}, d.args_hash))),
      pending ? this.#decide() : this.#decided(),
    ];
  }

  #question() {
    const tool = make("code", {}, this.decision.tool);
    return { call: ["Run ", tool, "?"], unknown: ["Was ", tool, " done?"], undo: ["Take back with ", tool, "?"],
      budget: ["Go on beyond the budget?"] }[this.decision.kind];
  }

  #facts() {
    const d = this.decision;
    const left = d.expires_at - Date.now();
    const expires = d.status !== "pending" || !d.expires_at ? "" : left < 0 ? " · expires now"
      : ` · expires in ${left < 7200e3 ? `${Math.max(1, Math.round(left / 60e3))} min` : left < 172800e3 ? `${Math.round(left / 3600e3)} h` : `${Math.round(left / 86400e3)} days`}`;
    return `asked for by ${d.owner.name}, ${ago(d.created_at)}${expires}`;
  }

  #decided() {
    const d = this.decision;
    const who = d.decided_by ? `${d.decided_by.name} ${CHOSEN[d.choice] ?? "decided"}` : `It is ${STATUS_WORDS[d.status]}`;
    return make("div", { class: "callout settled", role: "status" }, make("p", {}, make("strong", {}, who), d.decided_at ? `, ${ago(d.decided_at)}` : "", d.why ? ": " : ".", ...visible(d.why)));
  }

  #decide() {
    const d = this.decision;
    const refusal = this.error ? make("div", { class: "failed", role: "alert" }, make("p", {}, this.error)) : null;
    if (!d.may_decide) {
      return make("div", { class: "callout" }, make("p", {}, `Somebody of “${d.approvers}” decides about this; you may not.`));
    }
    if (this.editing) return make("div", {}, this.#editor(), refusal);
    const choices = d.choices.map((choice, index) => {
      const [label, look] = CHOICES[d.kind]?.[choice] ?? [choice, "secondary"];
      return make("button", { type: "button", class: look, disabled: this.busy, "data-key": index ? `decide-${choice}` : "decide-first",
        onclick: () => this.#give({ choice }) }, label);
    });
    return make("div", { class: "decide" },
      d.kind === "budget" && this.person.groups.includes(d.approvers) ? this.#more() : null,
      make("label", {}, "Why (the task and the audit keep it)", make("textarea", { name: "reason", rows: 2, maxLength: 4000, "data-key": "reason" })),
      make("div", { class: "buttons" }, ...choices, d.kind === "call" ? make("button", { type: "button", class: "quiet", "data-key": "edit",
        disabled: this.busy, onclick: () => { this.editing = true; this.error = ""; this.#draw(); this.element.querySelector("[data-key=changed]").focus(); } }, "Change the arguments…") : null),
      refusal);
  }

  #more() {
    const field = (name, label, step = "1") => make("label", {}, label, make("input", { name, type: "number", min: "0", step, "data-key": `more-${name}` }));
    return make("form", { class: "inline", onsubmit: (event) => {
      event.preventDefault();
      const values = [...event.target.querySelectorAll("input")].filter((f) => Number(f.value) > 0)
        .map((f) => (f.name === "money" ? ["micros", Math.round(Number(f.value) * 1e6)] : [f.name, Math.round(Number(f.value))]));
      this.#run(() => this.budget(this.decision.task, Object.fromEntries(values)));
    } }, field("steps", "Steps"), field("tokens", "Tokens"), field("money", "Money", "any"), field("seconds", "Seconds"),
    make("button", { type: "submit", class: "primary", disabled: this.busy, "data-key": "decide-add" }, "Add and go on"));
  }

  #editor() {
    return make("form", { class: "decide", onsubmit: (event) => {
      event.preventDefault();
      const text = event.target.querySelector("[name=changed]").value;
      try {
        if (parse(text).kind !== "object") throw new SyntaxError("arguments are an object, {…}");
      } catch (error) {
        this.error = `This is no JSON: ${error.message}`;
        this.#draw();
        return;
      }
      this.#give({ choice: "approve" }, text);
    } },
    make("p", { class: "hint" }, "The changed call is a new proposal. Somebody else has to approve it; you no longer can."),
    make("label", {}, "Arguments, as JSON", make("textarea", { name: "changed", class: "code", rows: 12, spellcheck: false,
      "data-key": "changed", value: indented(parse(this.decision.arguments)) })),
    make("label", {}, "Why", make("textarea", { name: "reason", rows: 2, maxLength: 4000, "data-key": "reason" })),
    make("div", { class: "buttons" }, make("button", { type: "submit", class: "primary", disabled: this.busy, "data-key": "propose" }, "Propose this instead"),
      make("button", { type: "button", class: "secondary", "data-key": "back", onclick: () => { this.editing = false; this.error = ""; this.#draw(); } }, "Back")));
  }

  #give(body, changed = null) {
    const reason = this.element.querySelector("[name=reason]")?.value ?? "";
    return this.#run(() => this.verdict(this.decision.approval, { ...body, reason, args_hash: this.decision.args_hash }, changed));
  }

  async #run(work) {
    Object.assign(this, { busy: true, error: "" });
    this.#draw();
    try {
      await work();
      this.editing = false;
    } catch (error) {
      this.error = error.message;
    }
    this.busy = false;
    this.#draw();
  }
}
