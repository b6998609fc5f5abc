// The one connection of a page to /stream: topics to handlers, again and again after every break.
//
//     const stream = new Stream({ "prices.tick": (message) => … });
//     stream.want("pnl"); stream.want("prices.chart", ["AAPL"]); stream.drop("orders");
//
// A handler is called for each message of its topic; "state" with "open", "lost" or "silent".

const RETRY_MS = 500;
const SILENT_MS = 8000; // a heartbeat comes every 5 s

export class Stream {
  constructor(handlers) {
    this.handlers = handlers;
    this.wanted = new Map();
    this.missedFrames = 0;
    this.connect();
    setInterval(() => this.check(), 1000);
  }

  connect() {
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/stream`);
    this.socket.onopen = () => {
      this.heard = performance.now();
      this.tell("state", "open");
      for (const [topic, symbols] of this.wanted) this.ask("subscribe", topic, symbols);
    };
    this.socket.onmessage = (event) => {
      this.heard = performance.now();
      const message = JSON.parse(event.data);
      if (message.topic === "heartbeat") this.missedFrames = message.missed_frames;
      this.tell(message.topic, message);
    };
    this.socket.onclose = () => {
      this.tell("state", "lost");
      setTimeout(() => this.connect(), RETRY_MS);
    };
  }

  check() {
    if (this.socket.readyState === WebSocket.OPEN && performance.now() - this.heard > SILENT_MS) {
      this.tell("state", "silent");
      this.socket.close(); // a laptop that slept: the other end may be gone without a word
    }
  }

  tell(topic, message) {
    this.handlers[topic]?.(message);
  }

  want(topic, symbols = null) {
    this.wanted.set(topic, symbols);
    this.ask("subscribe", topic, symbols);
  }

  drop(topic) {
    this.wanted.delete(topic);
    this.ask("unsubscribe", topic, null);
  }

  ask(verb, topic, symbols) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ [verb]: [topic], symbols }));
  }
}
