/** Who is signed in, and how one signs in here. */

import { call } from "./api.js";
import { $, make } from "./dom.js";

/** Shows the form until somebody is signed in; resolves to the person. */
export async function signedIn() {
  const session = await call("GET", "/v1/session");
  return session.person ?? ask(session);
}

function ask(session) {
  $("shell").hidden = true;
  $("sign-in").hidden = false;
  $("sign-in-local").hidden = session.mode !== "local";
  $("sign-in-oidc").hidden = session.mode !== "oidc";
  $("person").replaceChildren(...session.people.map((p) => make("option", { value: p.user }, p.name)));
  $("code").focus();
  return new Promise((resolve) => {
    $("sign-in-form").onsubmit = async (event) => {
      event.preventDefault();
      const token = $("token").value.trim();
      $("sign-in-error").textContent = "";
      try {
        const answer = await call("POST", "/v1/session",
          token ? { token } : { user: $("person").value, code: $("code").value.trim() || " " });
        $("token").value = $("code").value = "";
        $("sign-in").hidden = true;
        resolve(answer.person);
      } catch (error) {
        $("sign-in-error").textContent = error.message;
        $("code").select();
      }
    };
  });
}

export async function signOut() {
  await call("DELETE", "/v1/session");
  location.reload();
}
