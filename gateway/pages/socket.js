/**
 * One WebSocket for all answers of the page. A broken connection is taken up again where it broke: each answer that has
 * not ended is resumed with its last cursor, and one that was never heard of is asked again with its request id, which
 * asks once.
 */

const WAITS = [200, 500, 1000, 2000, 5000];

export class Connection {
  /** `onState(connected)`, `onSignedOut()` */
  constructor({ onState, onSignedOut }) {
    this.onState = onState;
    this.onSignedOut = onSignedOut;
    this.open = new Map(); // request id -> {ask, answer, conversation, cursor, onMessage}
    this.ready = false;
    this.tries = 0;
  }

  connect() {
    if (this.socket && this.socket.readyState <= WebSocket.OPEN) return;
    const address = new URL("/v1/chat", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address, "weir.v1");
    this.socket.onopen = () => this.#send({ type: "hello" });
    this.socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    this.socket.onclose = (event) => this.#closed(event.code);
  }

  close() {
    this.open.clear();
    this.stopped = true;
    this.socket?.close();
  }

  ask(ask, onMessage) {
    const entry = { ask: { type: "ask", ...ask }, answer: null, conversation: null, cursor: null, onMessage };
    this.open.set(ask.request_id, entry);
    this.stopped = false;
    if (this.ready) this.#send(entry.ask);
    else this.connect();
  }

  cancel(requestId) {
    const entry = this.open.get(requestId);
    if (!entry) return;
    entry.unwanted = true; // told as soon as the answer has a name
    if (entry.answer) this.#send({ type: "cancel", answer: entry.answer, conversation: entry.conversation });
  }

  #send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  #receive(message) {
    if (message.type === "ready") {
      this.ready = true;
      this.tries = 0;
      this.onState(true);
      for (const entry of this.open.values()) this.#send(this.#again(entry));
      return;
    }
    if (["not_signed_in", "token_expired"].includes(message.code) && !message.answer) {
      this.onSignedOut();
      return;
    }
    const entry = this.#entry(message);
    if (!entry) return;
    const named = !entry.answer && message.answer;
    if (message.answer) Object.assign(entry, { answer: message.answer, conversation: message.conversation });
    if (named && entry.unwanted) this.cancel(entry.ask.request_id);
    if (message.cursor) entry.cursor = message.cursor;
    if (message.type === "done" || message.type === "error") this.open.delete(entry.ask.request_id);
    entry.onMessage(message);
  }

  #entry(message) {
    if (message.request_id) return this.open.get(message.request_id);
    const entries = [...this.open.values()];
    return entries.find((e) => e.answer === message.answer) ?? entries.find((e) => e.answer === null);
  }

  #again(entry) {
    const { answer, conversation, cursor } = entry;
    return answer ? { type: "resume", answer, conversation, cursor } : entry.ask;
  }

  #closed(code) {
    this.ready = false;
    if (code === 4401) {
      this.onSignedOut();
    } else if (!this.stopped) {
      this.onState(false);
      setTimeout(() => this.connect(), WAITS[Math.min(this.tries++, WAITS.length - 1)]);
    }
  }
}
