import assert from "node:assert/strict";
import { type HttpServer, type HttpTimeouts, listen } from "../../functions/server/http_server.ts";
import { ServerProcess } from "./server_process.ts";

const TIMEOUTS: HttpTimeouts = { headersMs: 200, requestMs: 400, keepAliveMs: 100, checkMs: 50 };
/** Whatever else the machine does. */
const AT_MOST_MS = 10_000;
const HEAD = "POST /x HTTP/1.1\r\nHost: a\r\n";

/** A server in this process, and bytes as they go over its sockets. */
class Served implements AsyncDisposable {
  readonly #connections: Connection[] = [];
  private constructor(readonly server: HttpServer) {}

  static async start(
    handler: (request: Request) => Response | Promise<Response>,
    timeouts = TIMEOUTS,
    maxConnections = 1000,
  ) {
    const options = { host: "127.0.0.1", port: 0, maxConnections, timeouts };
    return new Served(await listen(options, handler));
  }

  /** Connects and sends `text`. */
  async send(text: string): Promise<Connection> {
    const connection = await Connection.open(this.server.port, text);
    this.#connections.push(connection);
    return connection;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connections.forEach((connection) => connection.leave());
    await this.server.shutdown();
  }
}

class Connection {
  readonly #opened = performance.now();
  #received = "";
  #left = false;
  readonly #socket: Deno.TcpConn;
  private constructor(socket: Deno.TcpConn) {
    this.#socket = socket;
  }

  static async open(port: number, text: string): Promise<Connection> {
    const connection = new Connection(await Deno.connect({ hostname: "127.0.0.1", port }));
    await connection.write(text);
    return connection;
  }

  async write(text: string): Promise<void> {
    const writer = this.#socket.writable.getWriter();
    await writer.write(new TextEncoder().encode(text));
    writer.releaseLock();
  }

  /** Reads until the server closes, or until `text` has come. */
  async read(text?: string): Promise<string> {
    const buffer = new Uint8Array(1 << 16);
    while (text === undefined || !this.#received.includes(text)) {
      const length = await this.#socket.read(buffer).catch(() => null);
      if (length === null) break;
      this.#received += new TextDecoder().decode(buffer.subarray(0, length));
    }
    return this.#received;
  }

  /** Whether the server closes it in this time, in which nothing is to come. */
  async closedWithin(ms: number): Promise<boolean> {
    const closed = this.read().then(() => true);
    return await Promise.race([closed, delay(ms).then(() => false)]);
  }

  elapsedMs(): number {
    return performance.now() - this.#opened;
  }

  leave(): void {
    if (!this.#left) this.#socket.close();
    this.#left = true;
  }
}

async function echo(request: Request): Promise<Response> {
  return new Response(`${request.method} ${await request.text()}`);
}

/** Sends a piece every 100 ms, `count` times. */
function slowStream(count: number, onCancel = () => {}): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      await delay(100);
      controller.enqueue(new TextEncoder().encode(`piece ${count}\n`));
      if (--count === 0) controller.close();
    },
    cancel: onCancel,
  }, { highWaterMark: 0 });
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const halves: [what: string, text: string, afterMs: number][] = [
  ["a silent connection", "", TIMEOUTS.headersMs],
  ["half a head", "POST /x HTTP/1.1\r\nHo", TIMEOUTS.headersMs],
  ["half a body", `${HEAD}Content-Length: 10\r\n\r\nabc`, TIMEOUTS.requestMs],
  ["half a chunk", `${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nab`, TIMEOUTS.requestMs],
];
Deno.test("a request that is left half done gets 408 in time and is closed", async () => {
  await using served = await Served.start(echo);
  await Promise.all(halves.map(async ([what, text, afterMs]) => {
    const connection = await served.send(text);
    const answer = await connection.read();
    const ms = connection.elapsedMs();
    assert.match(answer, /^HTTP\/1\.1 408 Request Timeout\r\n/, what);
    const { error } = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")));
    assert.deepEqual([error.type, error.code], ["invalid_request_error", "request_timeout"]);
    assert.ok(ms >= afterMs - 10 && ms < AT_MOST_MS, `${what}: ${ms} ms`);
  }));
});

Deno.test("an idle connection is closed in time, in silence", async () => {
  await using served = await Served.start(echo);
  const connection = await served.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const answer = await connection.read();
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nGET $/);
  assert.ok(connection.elapsedMs() < AT_MOST_MS);
});

Deno.test("a POST that asks for HTTP/2 is answered as it came", async () => {
  await using served = await Served.start(echo);
  const connection = await served.send(
    `${HEAD}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n` +
      "HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 5\r\n\r\nhello",
  );
  assert.match(await connection.read("hello"), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nPOST hello$/);
});

Deno.test("a method that fetch has no request of comes as one that no route has", async () => {
  await using served = await Served.start(({ method }) => new Response(method));
  for (const method of ["TRACE", "PURGE"]) {
    const connection = await served.send(`${method} /x HTTP/1.1\r\nHost: a\r\n\r\n`);
    assert.match(await connection.read("\r\n\r\n"), /^HTTP\/1.1 200 /, method);
  }
});

Deno.test("a stream that outlasts every timeout is not cut", async () => {
  await using served = await Served.start(() => new Response(slowStream(6)));
  const connection = await served.send(`${HEAD}Content-Length: 0\r\n\r\n`);
  assert.match(await connection.read("\r\n0\r\n\r\n"), /piece 6\n[^]*piece 1\n/);
});

Deno.test("a caller who leaves aborts the signal and cancels the stream", async () => {
  const { promise: signalled, resolve: onAbort } = Promise.withResolvers<void>();
  const { promise: cancelled, resolve: onCancel } = Promise.withResolvers<void>();
  await using served = await Served.start(({ signal }) => {
    signal.addEventListener("abort", () => onAbort());
    return new Response(slowStream(1000, onCancel));
  });
  const connection = await served.send(`${HEAD}Content-Length: 0\r\n\r\n`);
  await connection.read("piece 1000");
  connection.leave();
  await Promise.all([signalled, cancelled]);
});

Deno.test("a caller who leaves before the answer aborts the signal", async () => {
  const { promise: signalled, resolve: onAbort } = Promise.withResolvers<void>();
  const { promise: read, resolve: onRead } = Promise.withResolvers<void>();
  await using served = await Served.start(async (request) => {
    request.signal.addEventListener("abort", () => onAbort());
    await request.text();
    onRead();
    await signalled;
    return new Response("nobody is there");
  });
  // In two pieces: Deno.serve does not watch the connection then.
  const connection = await served.send(`${HEAD}Content-Length: 4\r\n\r\nab`);
  await connection.write("cd");
  await read;
  connection.leave();
  await signalled;
});

Deno.test("a caller who leaves in the body aborts the signal before the body fails", async () => {
  const { promise: outcome, resolve } = Promise.withResolvers<boolean>();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  await using served = await Served.start(async ({ signal, body }) => {
    const reader = body!.getReader();
    await reader.read();
    begin();
    await assert.rejects(reader.read());
    resolve(signal.aborted);
    return new Response("nobody is there");
  });
  const connection = await served.send(`${HEAD}Content-Length: 4\r\n\r\nab`);
  await begun;
  connection.leave();
  assert.equal(await outcome, true);
});

Deno.test("a caller who does not read holds the stream back", async () => {
  let pulled = 0;
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulled++;
      begin();
      controller.enqueue(new Uint8Array(1 << 16));
    },
  }, { highWaterMark: 0 });
  await using served = await Served.start(() => new Response(body));
  await served.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await begun;
  for (let before = 0; before !== pulled;) {
    before = pulled;
    await delay(200);
  }
  // The kernel's buffers on both sides hold some MiB.
  assert.ok(pulled < 500, `${pulled} pieces of 64 KiB`);
});

Deno.test("a body that fails breaks the connection off", async () => {
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      controller.enqueue(new TextEncoder().encode("half"));
      await delay(20);
      controller.error(new Error("no more"));
    },
  }, { highWaterMark: 0 });
  await using served = await Served.start(() => new Response(body));
  const answer = await (await served.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")).read();
  assert.match(answer, /\r\n\r\n4\r\nhalf\r\n$/);
});

Deno.test("a whole body has its length, one that is made has none", async () => {
  await using served = await Served.start(({ url }) =>
    new URL(url).pathname === "/whole" ? new Response("four") : new Response(slowStream(2))
  );
  const ask = (path: string) => served.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
  assert.match(await (await ask("/whole")).read("four"), /\r\ncontent-length: 4\r\n/i);
  assert.match(await (await ask("/made")).read("\r\n0\r\n\r\n"), /\r\ntransfer-encoding: chunked/i);
});

Deno.test("an answer before its body leaves, and the rest of the body has a bounded time", async () => {
  await using served = await Served.start(() => new Response("no", { status: 401 }));
  const connection = await served.send(`${HEAD}Content-Length: 1000\r\n\r\nabc`);
  assert.match(await connection.read("no"), /^HTTP\/1\.1 401 /);
  const dribble = setInterval(() => {
    connection.write("c").catch(() => {});
  }, 20);
  await connection.read();
  clearInterval(dribble);
  assert.ok(connection.elapsedMs() < AT_MOST_MS, `${connection.elapsedMs()} ms`);
});

Deno.test("a body that comes after its answer leaves the connection in use", async () => {
  const timeouts = { ...TIMEOUTS, requestMs: 1000, keepAliveMs: 10 * AT_MOST_MS };
  await using served = await Served.start(async ({ url, body }) => {
    const { pathname } = new URL(url);
    if (pathname === "/x") await body!.getReader().read();
    return new Response(pathname);
  }, timeouts);
  const rest = "c".repeat(1 << 20);
  const connection = await served.send(`${HEAD}Content-Length: ${2 + rest.length}\r\n\r\nab`);
  await connection.read("/x");
  await connection.write(`${rest}GET /next HTTP/1.1\r\nHost: a\r\n\r\n`);
  assert.match(await connection.read("/next"), /\/next$/);
  await delay(timeouts.requestMs + 50);
  await connection.write("GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.match(await connection.read("/last"), /\/last$/);
});

for (
  const [what, text] of [
    ["no HTTP", "hello\r\n\r\n"],
    ["a target that is no URL", "GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n"],
  ] as const
) {
  Deno.test(`${what} gets 400 and is closed`, async () => {
    await using served = await Served.start(echo);
    const answer = await (await served.send(text)).read();
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n[^]*"code":"invalid_request"/);
  });
}

Deno.test("shutdown ends idle connections, waits for streams and refuses new ones", async () => {
  const timeouts = { ...TIMEOUTS, keepAliveMs: 10 * AT_MOST_MS };
  await using served = await Served.start(
    ({ url }) => url.endsWith("/made") ? new Response(slowStream(3)) : new Response("four"),
    timeouts,
  );
  const idle = await served.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await idle.read("four");
  const streaming = await served.send("GET /made HTTP/1.1\r\nHost: a\r\n\r\n");
  await streaming.read("piece 3");
  const closed = served.server.shutdown();
  await idle.read();
  assert.ok(idle.elapsedMs() < AT_MOST_MS);
  await assert.rejects(
    () => Connection.open(served.server.port, ""),
    Deno.errors.ConnectionRefused,
  );
  assert.match(await streaming.read(), /piece 1\n\r\n0\r\n\r\n$/);
  await closed;
});

Deno.test("serve prints nothing about requests that are broken off", async () => {
  await using server = await ServerProcess.start(["--model", "tests/data/smollm2-bf16"]);
  const port = Number(new URL(server.address).port);
  const path = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" +
    "Content-Type: application/json\r\n";
  // It still runs when its caller has left, however late the server hears of it.
  const long = { n: 64, max_tokens: 1500, ignore_eos: true };
  const body = JSON.stringify({ prompt: "a", ...long, stream: true });
  const whole = `${path}Content-Length: ${body.length}\r\n\r\n${body}`;

  for (const text of ["", path, whole.slice(0, -5), whole, `${path}Upgrade: h2c\r\n\r\n`]) {
    const connection = await Connection.open(port, text);
    if (text === whole) await connection.read("data: ");
    else await delay(50);
    connection.leave();
  }
  await server.printed("POST /v1/completions 499");
  while (await server.metric('hearth_kv_blocks{state="held"}') > 0) await delay(10);
  assert.equal(await server.metric('hearth_requests_finished_total{reason="cancelled"}'), long.n);
  assert.equal(server.stderr, "");
});

Deno.test("what was sent behind a request is answered after it, never inside its answer", async () => {
  let running = 0, most = 0;
  await using served = await Served.start(async (request) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 5));
    running--;
    if (request.url.endsWith("/stream")) return new Response(slowStream(4));
    return new Response(new URL(request.url).pathname);
  });
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
  const many = await served.send(Array.from({ length: 20 }, (_, i) => get(`/n${i}.`)).join(""));
  assert.equal((await many.read("/n19.")).match(/\/n\d+\./g)?.length, 20);
  assert.equal(most, 1, "one at a time");
  for (const behind of ["TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "no request\r\n\r\n"]) {
    const connection = await served.send(get("/stream") + behind);
    const answer = await connection.read();
    assert.match(answer, /^(HTTP\/1\.1 200 OK|$)/);
    assert.doesNotMatch(answer.slice(1).split("0\r\n\r\n")[0]!, /HTTP\/1\.1 400/);
  }
});

Deno.test("a host that is missing or told twice is refused, other targets have no say", async () => {
  await using served = await Served.start((request) => new Response(request.url));
  for (const hosts of ["", "Host: a\r\nHost: b\r\n"]) {
    const answer = await (await served.send(`GET / HTTP/1.1\r\n${hosts}\r\n`)).read();
    assert.match(answer, /^HTTP\/1\.1 400 [^]*"code":"invalid_request"/);
  }
  const absolute = await served.send("GET http://evil.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.match(await absolute.read("/x?y"), /http:\/\/localhost\/x\?y$/);
});

Deno.test("at the bound of connections the one goes that has sent no head for longest", async () => {
  const silent = {
    ...TIMEOUTS,
    headersMs: AT_MOST_MS,
    requestMs: AT_MOST_MS,
    keepAliveMs: AT_MOST_MS,
  };
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  await using served = await Served.start(
    async (request) => {
      if (request.url.endsWith("/slow")) await released;
      return new Response(await request.text() + "done");
    },
    silent,
    3,
  );
  const slow = await served.send(`${HEAD.replace("/x", "/slow")}Content-Length: 0\r\n\r\n`);
  const half = await served.send(`${HEAD}Content-Length: 10\r\n\r\nabc`);
  await delay(50);
  for (let i = 0; i < 20; i++) await served.send("");
  assert.equal(await (await served.send("")).closedWithin(100), false, "the newest stays");
  await half.write("defghij");
  assert.match(await half.read("done"), /abcdefghijdone$/, "a body goes on");
  // It is idle from now on, and the oldest that is.
  for (let i = 0; i < 3; i++) await served.send("GET / HTTP/1.1\r\nHo");
  assert.equal(await half.closedWithin(AT_MOST_MS), true);
  release();
  assert.match(await slow.read("done"), /^HTTP\/1\.1 200 OK/, "what is answered is never cut");
});

Deno.test("where every connection waits for an answer one more is closed", async () => {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  await using served = await Served.start(
    async () => {
      await released;
      return new Response("done");
    },
    TIMEOUTS,
    2,
  );
  const asking = [1, 2].map(() => served.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  const connections = await Promise.all(asking);
  await delay(50);
  assert.equal(await (await served.send("")).closedWithin(AT_MOST_MS), true);
  release();
  for (const one of connections) assert.match(await one.read("done"), /^HTTP\/1\.1 200 OK/);
});
