/** Text that a task wrote: paragraphs, headings, lists and tables of Markdown, and nothing that could act. */

import { make } from "./dom.js";

const TABLE_RULE = /^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$/;

export function prose(text) {
  const lines = text.split("\n");
  const parts = [];
  let plain = [];
  const flush = () => {
    if (plain.join("").trim()) parts.push(make("p", {}, plain.join("\n").trim()));
    plain = [];
  };
  for (let at = 0; at < lines.length; at += 1) {
    const heading = /^(#{1,4})\s+(.*)$/.exec(lines[at]);
    if (lines[at].includes("|") && TABLE_RULE.test(lines[at + 1] ?? "")) {
      flush();
      let end = at + 2;
      while (end < lines.length && lines[end].includes("|")) end += 1;
      parts.push(table(cells(lines[at]), lines.slice(at + 2, end).map(cells)));
      at = end - 1;
    } else if (heading) {
      flush();
      parts.push(make("h3", {}, heading[2]));
    } else if (/^\s*[-*]\s+/.test(lines[at])) {
      flush();
      const items = [];
      for (; at < lines.length && /^\s*[-*]\s+/.test(lines[at]); at += 1) items.push(lines[at].replace(/^\s*[-*]\s+/, ""));
      at -= 1;
      parts.push(make("ul", {}, ...items.map((item) => make("li", {}, item))));
    } else if (!lines[at].trim()) {
      flush();
    } else {
      plain.push(lines[at]);
    }
  }
  flush();
  return parts;
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table(head, rows) {
  return make("div", { class: "table", tabIndex: 0, role: "region", "aria-label": "Table" }, make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((cell) => make("th", { scope: "col" }, cell)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell)))))));
}
