/** Elements without markup: text only ever becomes a text node. */

export const $ = (id) => document.getElementById(id);

/** An element with properties, then children; strings become text nodes. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Offsets on the wire count characters; JavaScript's strings count UTF-16 units. Returns character -> unit. */
export function offsets(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (at) => Math.min(at, text.length);
  const units = [];
  let unit = 0;
  for (const character of text) {
    units.push(unit);
    unit += character.length;
  }
  units.push(unit);
  return (at) => units[Math.min(at, units.length - 1)];
}

/** The headings above a passage, without the document's own title. */
export function path(source) {
  const [first, ...rest] = source.heading_path;
  return (first === source.title ? rest : source.heading_path).join(" › ");
}

/** An address that may be linked to; anything but http(s) is not. */
export function safeUrl(text) {
  try {
    const url = new URL(text);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

export function ago(milliseconds) {
  const seconds = Math.round((milliseconds - Date.now()) / 1000);
  const format = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return format.format(Math.round(seconds / size), unit);
  }
  return "just now";
}
