/** One turn on the page: the question, what is being said, its citations and sources. Drawn from a state, not patched. */

import { call, quoted } from "./api.js";
import { besides, conditions } from "./conditions.js";
import { make, offsets } from "./dom.js";
import { goldenForm } from "./golden.js";
import { openPanel } from "./panel.js";

const OUTCOMES = {
  not_in_sources: "Not in your sources",
  cancelled: "Stopped",
};

export class Turn {
  /**
   * `retry(turn, without)` asks the same again, not narrowed by these conditions; `anew(turn)` asks it so that no earlier
   * answer will do; `choose(question)` asks what was meant;
   * `curates(workspace)` says whether this person looks after its golden set.
   */
  constructor(question, workspace, { retry, anew, choose, curates }, without = []) {
    Object.assign(this, {
      question, workspace, retry, anew, choose, curates, without, filters: [], choices: [], text: "", sources: [], citations: [], notices: [], outcome: null, failed: null,
      answer: null, conversation: null, stage: "Asking…", spent: null, good: null,
      golden: null, earlier: null, follows: undefined,
    });
    this.heading = make("h2", { tabIndex: -1 }, question);
    this.body = make("div");
    this.element = make("article", { class: "turn" }, this.heading, this.body);
    this.draw();
  }

  static finished(turn, options) {
    const made = new Turn(turn.question, turn.workspace, options);
    Object.assign(made, {
      text: turn.text, sources: turn.sources, citations: turn.citations, notices: turn.notices, answer: turn.turn,
      conversation: turn.conversation, failed: turn.failed, stage: null, earlier: turn.earlier ?? null, follows: turn.follows,
      outcome: turn.failed ? "failed" : turn.outcome,
    });
    made.draw();
    return made;
  }

  get ended() {
    return this.outcome !== null;
  }

  /** Takes a message of the protocol. */
  take(message) {
    if (message.answer) Object.assign(this, { answer: message.answer, conversation: message.conversation });
    switch (message.type) {
      case "accepted":
        this.stage = "Looking for sources…";
        break;
      case "reset":
        Object.assign(this, { text: "", sources: [], citations: [], stage: "Starting again…" });
        break;
      case "sources":
        Object.assign(this, { sources: message.sources, notices: message.notices, filters: message.filters });
        this.stage = message.sources.length === 1 ? "Reading 1 source…" : `Reading ${message.sources.length} sources…`;
        break;
      case "delta":
        this.text += message.text;
        this.stage = null;
        break;
      case "citation":
        this.citations.push(message.citation);
        break;
      case "snapshot":
        Object.assign(this, { text: message.text, sources: message.sources, citations: message.citations });
        this.notices = message.notices;
        break;
      case "done":
        Object.assign(this, {
          text: message.text, sources: message.sources, citations: message.citations, notices: message.notices,
          filters: message.filters, choices: message.choices, earlier: message.earlier ?? null,
          outcome: message.outcome, stage: null, spent: message.timings.total ?? null,
        });
        break;
      case "error":
        Object.assign(this, { outcome: "failed", failed: message, stage: null });
        break;
    }
    this.draw();
  }

  draw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      const held = document.activeElement?.dataset?.key; // what has the focus keeps it
      this.body.replaceChildren(...this.#parts().filter(Boolean));
      if (held && !document.activeElement?.dataset?.key) this.body.querySelector(`[data-key="${held}"]`)?.focus();
    });
  }

  #parts() {
    return [
      this.earlier ? make("p", { class: "notice earlier" }, make("span", {}, ...this.#earlier()), this.#anew()) : null,
      conditions(this.filters, this.without, (without) => this.retry(this, without)),
      ...besides(this.notices, this.filters).slice(this.earlier ? 1 : 0).map((notice) => make("p", { class: "notice" }, notice)),
      this.stage && !this.text ? make("p", { class: "progress" }, this.stage) : null,
      this.#said(),
      this.failed ? this.#failure() : null,
      ...this.#sourceLists(),
      this.ended && !this.failed && this.answer ? this.#after() : null,
      this.golden,
    ];
  }

  /** What the first notice of a repeated answer says, with the time as it is here. */
  #earlier() {
    const { question, asked_at: at, similarity } = this.earlier;
    const to = similarity === 1 ? " to the same question" : this.notices[0]?.includes(question) ? ` to “${question}”` : "";
    const date = make("time", { dateTime: new Date(at).toISOString() }, new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }));
    return [make("strong", {}, "An earlier answer"), to, ", asked on ", date,
      ". Its sources have not changed since."];
  }

  #anew() {
    return make("button", { type: "button", class: "stop", "data-key": "anew", onclick: () => this.anew(this) }, "Ask anew");
  }

  #said() {
    if (!this.text) return null;
    const said = make("p", { class: this.ended ? "said" : "said streaming" }, ...this.#pieces());
    const label = this.choices.length ? "Which one is meant?" : OUTCOMES[this.outcome];
    return label ? make("div", { class: "absent" }, make("strong", {}, label), said, this.#choices()) : said;
  }

  #choices() {
    return this.choices.length ? make("div", { class: "choices" }, ...this.choices.map((question) => make("button", {
      type: "button", class: "stop", "data-key": `choice-${question}`, onclick: () => this.choose(question),
    }, question))) : null;
  }

  /** The text, cut where a supported stretch begins or ends, with the numbers of its sources behind it. */
  #pieces() {
    const at = offsets(this.text);
    const stretches = new Map();
    for (const citation of this.citations) {
      const key = `${citation.start}-${citation.end}`;
      if (!stretches.has(key)) stretches.set(key, { start: at(citation.start), end: at(citation.end), citations: [] });
      stretches.get(key).citations.push(citation);
    }
    const pieces = [];
    let place = 0;
    for (const stretch of [...stretches.values()].sort((a, b) => a.end - b.end || a.start - b.start)) {
      const start = Math.max(place, stretch.start);
      const span = make("span", { class: "supported" }, this.text.slice(start, stretch.end));
      pieces.push(this.text.slice(place, start), span, ...stretch.citations.map((c) => this.#cite(c, span)));
      place = Math.max(place, stretch.end);
    }
    pieces.push(this.text.slice(place));
    return pieces;
  }

  #cite(citation, span) {
    const source = this.sources.find((s) => s.number === citation.source);
    if (!source || !source.document) return null;
    const light = (on) => () => span.classList.toggle("lit", on);
    return make("button", {
      class: "cite", type: "button", "data-key": `cite-${citation.source}-${citation.start}`,
      "aria-label": `Source ${citation.source}: ${source.title || source.document}`, "aria-expanded": "false",
      onclick: (event) => openPanel(this.workspace, source, citation, event.currentTarget),
      onmouseenter: light(true), onmouseleave: light(false), onfocus: light(true), onblur: light(false),
    }, String(citation.source));
  }

  #sourceLists() {
    if (!this.sources.length || (!this.text && !this.ended) || this.failed) return [];
    const cited = new Set(this.citations.map((c) => c.source));
    const used = this.sources.filter((s) => cited.has(s.number));
    const others = this.sources.filter((s) => !cited.has(s.number));
    return [
      used.length ? make("section", { class: "sources" }, make("h3", {}, "Sources"), this.#list(used)) : null,
      others.length && this.ended
        ? make("details", { class: "sources uncited", open: this.alsoOpen ?? false,
          ontoggle: (event) => { this.alsoOpen = event.currentTarget.open; } },
        make("summary", {}, `${this.outcome === "not_in_sources" ? "Closest passages" : "Also read"}: ${others.length}`), this.#list(others))
        : null,
    ];
  }

  #list(sources) {
    return make("ol", {}, ...sources.map((source) => make("li", {}, this.#source(source))));
  }

  #source(source) {
    const first = this.citations.find((c) => c.source === source.number) ?? null;
    const withheld = !source.document;
    return make("button", {
      class: "source", type: "button", disabled: withheld, "data-key": `source-${source.number}`, "aria-expanded": "false",
      onclick: (event) => openPanel(this.workspace, source, first, event.currentTarget),
    },
    make("span", { class: "number" }, String(source.number)),
    make("span", { class: "title" }, withheld ? "Withheld" : source.title || source.document),
    make("span", { class: "path" }, withheld ? "Deleted, or no longer open to you" : source.heading_path.at(-1) ?? source.document),
    source.being_replaced ? make("span", { class: "flag" }, "being replaced") : null);
  }

  #failure() {
    const seconds = this.failed.retry_after ? ` You can try again in ${Math.ceil(this.failed.retry_after)} s.` : "";
    return make("div", { class: "failed", role: "alert" },
      make("p", {}, `${this.failed.message}${seconds}`),
      make("button", { type: "button", "data-key": "retry", onclick: () => this.retry(this) }, "Try again"));
  }

  #after() {
    const thumb = (good, label) => make("button", {
      type: "button", "data-key": `feedback-${good}`, "aria-pressed": String(this.good === good),
      onclick: async () => {
        this.good = good;
        this.golden = this.curates(this.workspace) && this.outcome !== "cancelled" ? goldenForm(this) : null;
        this.draw();
        await call("POST", `/v1/turns/${quoted(this.answer)}/feedback`, { good }).catch(() => { this.good = null; this.draw(); });
      },
    }, label);
    const seconds = this.spent === null ? null
      : make("span", { class: "spent" }, this.spent < 950 ? `${Math.round(this.spent)} ms` : `${(this.spent / 1000).toFixed(1)} s`);
    return make("div", { class: "after" }, thumb(true, "Helpful"), thumb(false, "Not helpful"), seconds);
  }
}
