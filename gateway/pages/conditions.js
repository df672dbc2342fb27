/** Conditions in a question that narrowed what was searched, each removable. */

import { make } from "./dom.js";

/**
 * @param filters as the protocol gives them
 * @param away conditions that were removed, as they were said
 * @param again called with what is to be left away now
 */
export function conditions(filters, away, again) {
  const row = [
    ...filters.map((f) => make("span", { class: "condition" }, make("span", {}, f.shown.replace(/\.$/, "")),
      make("button", {
        type: "button", "data-key": `without-${f.said}`, "aria-label": `Without “${f.said}”`, onclick: () => again([...away, f.said]),
      }, make("span", { class: "cross", "aria-hidden": "true" })))),
    ...away.map((said) => make("button", {
      type: "button", class: "condition away", "data-key": `with-${said}`, title: "Narrow by it again", onclick: () => again(away.filter((s) => s !== said)),
    }, make("s", {}, said))),
  ];
  return row.length ? make("p", { class: "conditions" }, ...row) : null;
}

/** Notices without those that the conditions say already. */
export function besides(notices, filters) {
  return notices.filter((notice) => !filters.some((f) => f.shown === notice));
}
