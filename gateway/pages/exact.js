/**
 * JSON shown exactly as it is. Numbers keep the digits they were written with (a parser would round them), and
 * characters that cannot be seen, or that turn the reading direction, are named.
 */

import { make } from "./dom.js";

const HIDDEN = /([\u0000-\u0008\u000b-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}])/u;

/** Text nodes, with what cannot be seen made visible. */
export function visible(text) {
  return text.split(HIDDEN).map((part, index) => (index % 2
    ? make("span", { class: "unseen", title: "A character that cannot be seen" },
      `U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`)
    : part));
}

/** JSON text as a tree: {kind: "object", entries} | {kind: "array", items} | {kind: "string", text} | {kind: "other", raw}. */
export function parse(json) {
  let at = 0;
  const space = () => { while (" \n\r\t".includes(json[at] ?? "x")) at += 1; };
  const string = () => {
    const start = at++;
    while (json[at] !== '"') at += json[at] === "\\" ? 2 : 1;
    return JSON.parse(json.slice(start, ++at));
  };
  const list = (end, one) => {
    const found = [];
    at += 1;
    for (space(); json[at] !== end; space()) {
      found.push(one());
      space();
      if (json[at] === ",") at += 1;
    }
    at += 1;
    return found;
  };
  const value = () => {
    space();
    if (json[at] === '"') return { kind: "string", text: string() };
    if (json[at] === "[") return { kind: "array", items: list("]", value) };
    if (json[at] === "{") {
      return { kind: "object", entries: list("}", () => {
        space();
        const key = string();
        space();
        at += 1; // the colon
        return [key, value()];
      }) };
    }
    const [raw] = /^[-+.\w]+/.exec(json.slice(at));
    at += raw.length;
    return { kind: "other", raw };
  };
  JSON.parse(json); // what is no JSON is said here
  return value();
}

/** The same as elements. */
export function draw(node) {
  switch (node.kind) {
    case "object":
      return make("dl", { class: "fields" }, ...(node.entries.length ? node.entries.flatMap(([key, value]) => [
        make("dt", {}, ...visible(key)), make("dd", {}, draw(value))]) : ["{}"]));
    case "array":
      return make("ol", { class: "items" }, ...(node.items.length ? node.items.map((item) => make("li", {}, draw(item)))
        : [make("li", { class: "none" }, "[]")]));
    case "string":
      return make("span", { class: "text", dir: "auto" }, ...(node.text ? visible(node.text) : [make("em", {}, "empty")]));
    default:
      return make("code", {}, node.raw);
  }
}

/** The same as indented text for an editor, still with every digit. */
export function indented(node, depth = 0) {
  const pad = "  ".repeat(depth + 1);
  const inside = (parts, open, close) => (parts.length
    ? `${open}\n${parts.map((p) => pad + p).join(",\n")}\n${"  ".repeat(depth)}${close}` : open + close);
  switch (node.kind) {
    case "object":
      return inside(node.entries.map(([k, v]) => `${JSON.stringify(k)}: ${indented(v, depth + 1)}`), "{", "}");
    case "array":
      return inside(node.items.map((item) => indented(item, depth + 1)), "[", "]");
    case "string":
      return JSON.stringify(node.text);
    default:
      return node.raw;
  }
}
