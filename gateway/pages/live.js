/**
 * One WebSocket that watches: tasks, or the approval queue. A broken connection is opened again and what was watched is
 * watched again; `onState(true)` then says that something may have been missed.
 */

const WAITS = [200, 500, 1000, 2000, 5000];

export class Live {
  constructor({ onMessage, onState = () => {}, onSignedOut = () => location.reload() }) {
    Object.assign(this, { onMessage, onState, onSignedOut, task: null, approvals: false, ready: false, tries: 0 });
    this.#connect();
  }

  /** Watches this task, and no other any more. */
  watch(task) {
    if (this.ready && this.task && this.task !== task) this.#send({ type: "unwatch", task: this.task });
    this.task = task;
    if (this.ready && task) this.#send({ type: "watch", task });
  }

  watchApprovals() {
    this.approvals = true;
    if (this.ready) this.#send({ type: "watch", approvals: true });
  }

  #connect() {
    const address = new URL("/v1/chat", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address, "weir.v1");
    this.socket.onopen = () => this.#send({ type: "hello" });
    this.socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    this.socket.onclose = (event) => this.#closed(event.code);
  }

  #send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  #receive(message) {
    if (message.type === "ready") {
      this.ready = true;
      this.tries = 0;
      if (this.approvals) this.watchApprovals();
      if (this.task) this.watch(this.task);
      this.onState(true);
    } else if (["not_signed_in", "token_expired"].includes(message.code)) {
      this.onSignedOut();
    } else {
      this.onMessage(message);
    }
  }

  #closed(code) {
    this.ready = false;
    if (code === 4401) {
      this.onSignedOut();
      return;
    }
    this.onState(false);
    setTimeout(() => this.#connect(), WAITS[Math.min(this.tries++, WAITS.length - 1)]);
  }
}
