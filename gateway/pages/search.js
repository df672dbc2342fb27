/** Passages without an answer, with their scores. */

import { call } from "./api.js";
import { besides, conditions } from "./conditions.js";
import { make, path } from "./dom.js";
import { openPanel } from "./panel.js";

export async function search(question, workspace) {
  const list = make("ul", { class: "hits" });
  const said = make("div", {}, make("p", { class: "progress" }, "Searching…"));
  const narrowed = make("div");
  const element = make("article", { class: "turn" }, make("h2", { tabIndex: -1 }, question), narrowed, said, list);
  const run = async (without) => {
    try {
      const found = await call("POST", "/v1/search", { workspace, question, limit: 20, without });
      list.replaceChildren(...found.sources.map((source) => hit(source, workspace)));
      const summary = found.sources.length ? `${found.sources.length} passages` : "No passage that is open to you matches.";
      const chips = conditions(found.filters, without, run);
      narrowed.replaceChildren(...(chips ? [chips] : []));
      said.replaceChildren(
        ...besides(found.notices, found.filters).map((notice) => make("p", { class: "notice" }, notice)), make("p", { class: "hint" }, `${summary} · `,
          make("a", { href: `/search#${new URLSearchParams({ in: workspace, q: question })}` }, "How they were found")));
    } catch (error) {
      said.replaceChildren(make("div", { class: "failed", role: "alert" }, make("p", {}, error.message)));
    }
  };
  return { element, finished: run([]) };
}

export function hit(source, workspace) {
  const button = make("button", {
    class: "hit", type: "button", "aria-expanded": "false",
    onclick: (event) => openPanel(workspace, source, null, event.currentTarget),
  },
  make("span", { class: "head" }, make("span", { class: "title" }, source.title || source.document),
    make("span", { class: "score", title: "Fused score" }, source.score.toFixed(2))),
  make("span", { class: "path" }, path(source)),
  make("span", { class: "text" }, source.text));
  return make("li", {}, button);
}
