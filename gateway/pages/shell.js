/** What the pages share: who is here, the way to the other pages, the list at the side. */

import { call } from "./api.js";
import { $, make } from "./dom.js";

const PAGES = [
  { href: "/", name: "Answers" },
  { href: "/search", name: "Search" },
  { href: "/tasks", name: "Tasks" },
  { href: "/approvals", name: "Approvals", count: "pending" },
  { href: "/evaluations", name: "Evaluations", curators: true },
  { href: "/insights", name: "Figures", curators: true },
  { href: "/caches", name: "Caches", curators: true },
];
for (const page of PAGES) {
  const here = page.href === location.pathname;
  page.link = make("a", { href: page.href, hidden: Boolean(page.curators) && !here }, page.name);
  if (here) page.link.ariaCurrent = "page";
  if (page.count) page.link.append(make("span", { id: page.count, class: "count", hidden: true }));
  $("pages").append(page.link);
}

/** The person who is signed in; whoever is not goes to the first page and comes back. */
export async function arrive() {
  const session = await call("GET", "/v1/session");
  if (!session.person) {
    location.replace(`/?then=${encodeURIComponent(location.pathname + location.hash)}`);
    return new Promise(() => {});
  }
  $("who").textContent = session.person.name;
  $("sign-out").addEventListener("click", async () => {
    await call("DELETE", "/v1/session");
    location.assign("/");
  });
  $("menu").addEventListener("click", () => openSide(!$("side").classList.contains("open")));
  $("veil").addEventListener("click", () => openSide(false));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !$("side").classList.contains("open")) return;
    openSide(false);
    $("menu").focus();
  });
  $("shell").hidden = false;
  call("GET", "/v1/workspaces").then(({ workspaces }) => showPages(workspaces)).catch(() => {});
  return session.person;
}

export function openSide(open) {
  $("side").classList.toggle("open", open);
  $("menu").setAttribute("aria-expanded", String(open));
  $("veil").hidden = !open;
  if (open) $("side").querySelector("button, a")?.focus();
}

/** Shows the way to the pages that are for those who may publish. Returns the workspaces where this person may. */
export function showPages(workspaces) {
  const curated = new Set(workspaces.filter((w) => w.may_publish).map((w) => w.workspace));
  for (const { link, curators } of PAGES) if (curators) link.hidden = curated.size === 0 && link.ariaCurrent !== "page";
  $("pages").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  return curated;
}

/** Says in the navigation how many proposals wait for this person. */
export function showPending(count) {
  $("pending").textContent = count > 99 ? "99+" : String(count);
  $("pending").hidden = count === 0;
  $("pending").setAttribute("aria-label", `${count} waiting`);
}

export async function countPending() {
  const { approvals } = await call("GET", "/v1/approvals").catch(() => ({ approvals: [] }));
  showPending(approvals.length);
  return approvals;
}

export function announce(text) {
  $("live").textContent = text;
}

export const newId = () => crypto.randomUUID?.() ?? String(Math.random()).slice(2) + Date.now();
