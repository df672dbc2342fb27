/** Where somebody has marked an answer: its question for the golden set, with what would have been right. */

import { call, quoted } from "./api.js";
import { make } from "./dom.js";
import { announce } from "./shell.js";

/** The form under a marked turn. A good answer says by itself what is expected; of a bad one somebody has to say it. */
export function goldenForm(turn) {
  const said = make("p", { class: "error-text", role: "alert" });
  const send = make("button", { type: "submit", class: "secondary", "data-key": "golden-add" }, "Add to the golden set");
  const absent = make("input", { type: "checkbox", name: "unanswerable", "data-key": "golden-absent" });
  const answer = make("input", { name: "answer", maxLength: 2000, autocomplete: "off", "data-key": "golden-answer" });
  const documents = turn.good ? [] : documentChoices(turn);
  const form = make("form", { class: "golden", "aria-label": "Golden set" },
    ...(turn.good ? [make("p", { class: "hint" }, turn.outcome === "not_in_sources"
      ? "The question is kept as one that the sources do not answer." : "The question is kept with the passages that this answer cites.")] : [
      documents.length ? make("fieldset", {}, make("legend", {}, "Where does the answer stand?"), ...documents) : null,
      make("label", {}, "The right answer, as the source has it", answer),
      make("label", { class: "choice" }, absent, "The sources do not hold it"),
    ]), make("div", { class: "buttons" }, send), said);
  absent.addEventListener("change", () => {
    answer.disabled = absent.checked;
    for (const box of form.querySelectorAll("[name=document]")) box.disabled = absent.checked;
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    said.textContent = "";
    const body = { good: turn.good };
    if (!turn.good && absent.checked) body.unanswerable = true;
    else if (!turn.good) {
      Object.assign(body, { answer: answer.value.trim(),
        documents: [...form.querySelectorAll("[name=document]:checked")].map((box) => box.value) });
    }
    try {
      const made = await call("POST", `/v1/turns/${quoted(turn.answer)}/golden`, body);
      const done = `Kept in the golden set ${made.set}, version ${made.version}.`;
      form.replaceChildren(make("p", { class: "hint" }, done));
      announce(done);
    } catch (error) {
      said.textContent = error.message;
      send.disabled = false;
    }
  });
  return form;
}

function documentChoices(turn) {
  const titles = new Map(turn.sources.filter((s) => s.document).map((s) => [s.document, s.title || s.document]));
  return [...titles].map(([document, title]) => make("label", { class: "choice" },
    make("input", { type: "checkbox", name: "document", value: document, "data-key": `golden-${document}` }), title));
}
