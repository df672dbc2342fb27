/** The source panel: the section around a passage, the cited stretch marked. */

import { call, quoted } from "./api.js";
import { $, make, offsets, path, safeUrl } from "./dom.js";

let opener = null;

/**
 * @param source a source as the protocol gives it
 * @param citation the stretch that supports the answer, or null for the whole passage
 * @param from the button that opened it, which gets the focus back
 */
export async function openPanel(workspace, source, citation, from) {
  closePanel(false);
  opener = from;
  from.setAttribute("aria-expanded", "true");
  $("panel-number").textContent = String(source.number);
  $("panel-title").textContent = source.title || source.document;
  $("panel-path").textContent = path(source);
  const url = safeUrl(source.source);
  $("panel-link").hidden = !url;
  if (url) $("panel-link").href = url;
  say(source.being_replaced ? "A newer version of this document is on its way into the index." : "");
  show(source, citation, null);
  $("panel").hidden = false;
  $("veil").hidden = !matchMedia("(max-width: 75rem)").matches;
  $("panel-title").focus({ preventScroll: true });
  try {
    const address = `/v1/workspaces/${quoted(workspace)}/documents/${quoted(source.document)}/sections/${source.section}`;
    const section = await call("GET", `${address}?version=${source.version}`);
    if (opener !== from) return;
    const whole = section.version === source.version;
    if (!whole || section.being_replaced) say("This document has changed since; the passage is as it was quoted.");
    show(source, citation, whole ? section.text : null);
  } catch (error) {
    if (opener !== from) return;
    say(error.status === 404 ? "The text around this passage is not open to you any more, or is being replaced."
      : `The text around this passage could not be read: ${error.message}`);
    if (error.status === 404) $("panel-text").replaceChildren();
  }
}

export function closePanel(focus = true) {
  if ($("panel").hidden) return false;
  $("panel").hidden = $("veil").hidden = true;
  opener?.setAttribute("aria-expanded", "false");
  if (focus) opener?.focus();
  opener = null;
  return true;
}

function say(text) {
  $("panel-notice").textContent = text;
  $("panel-notice").hidden = !text;
}

function show(source, citation, section) {
  const at = offsets(source.text);
  const [start, end] = citation ? [at(citation.quote_start), at(citation.quote_end)] : [0, source.text.length];
  const mark = make("mark", {}, source.text.slice(start, end));
  const passage = make("span", { class: "passage" }, source.text.slice(0, start), mark, source.text.slice(end));
  let before = "";
  let after = "";
  if (section !== null) {
    const of = offsets(section);
    const [from, to] = [of(source.start), of(source.end)];
    if (section.slice(from, to) === source.text) [before, after] = [section.slice(0, from), section.slice(to)];
  }
  $("panel-text").replaceChildren(before, passage, after);
  mark.scrollIntoView({ block: "center" });
}
