/** The REST API. The cookie says who speaks. */

export class ApiError extends Error {
  constructor(status, said) {
    super(said?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = said?.code ?? "unknown";
  }
}

export const call = (method, path, body) => callText(method, path, body === undefined ? undefined : JSON.stringify(body));

/** The same with a body that is JSON text already. */
export async function callText(method, path, body) {
  let response;
  try {
    response = await fetch(path, { method, headers: body === undefined ? {} : { "Content-Type": "application/json" }, body });
  } catch {
    throw new ApiError(0, { code: "unavailable", message: "Weir does not answer. Is it running?" });
  }
  const json = response.headers.get("Content-Type")?.startsWith("application/json") ? await response.json() : null;
  if (!response.ok) throw new ApiError(response.status, json?.error);
  return json;
}

export const quoted = encodeURIComponent;
