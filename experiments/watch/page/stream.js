// The connection to the server: it is made again, for as long as it takes.

const RETRY_MS = 1500;
/** So long a server that says "alive" may be silent. It says so every 5 s. */
const SILENT_MS = 15000;

/**
 * Listens to the server's events and calls ``history(views)``, ``view(view)`` and
 * ``state(STATE)``: "open", "lost" (no answer), "refused" (another server, or another token).
 */
export class Stream {
  constructor(handlers) {
    this.handlers = handlers;
    this.silence = null;
    this.connect();
  }

  connect() {
    this.source = new EventSource("/stream");
    this.source.addEventListener("history", (event) => {
      this.handlers.state("open");
      this.handlers.history(JSON.parse(event.data));
      this.heard();
    });
    this.source.addEventListener("view", (event) => {
      this.handlers.state("open");
      this.handlers.view(JSON.parse(event.data));
      this.heard();
    });
    this.source.addEventListener("alive", () => {
      this.saysAlive = true;
      this.heard();
    });
    this.source.addEventListener("error", () => this.lost());
  }

  /** A server that has stopped keeps its connections: only its silence gives it away. */
  heard() {
    clearTimeout(this.silence);
    if (this.saysAlive) this.silence = setTimeout(() => this.lost(), SILENT_MS);
  }

  async lost() {
    clearTimeout(this.silence);
    this.saysAlive = false;
    this.source.close();
    this.handlers.state((await refused()) ? "refused" : "lost");
    setTimeout(() => this.connect(), RETRY_MS);
  }
}

/** Whether a server answers there that does not know this page. */
async function refused() {
  try {
    const limit = AbortSignal.timeout(RETRY_MS);
    const answer = await fetch("/page/icon.svg", { cache: "no-store", signal: limit });
    return answer.status === 403;
  } catch {
    return false;
  }
}
