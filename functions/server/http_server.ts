/**
 * Serves a `fetch` handler over `node:http`, which bounds what a caller may leave half done:
 * `Deno.serve` keeps silent, half-headed and half-bodied connections for ever.
 *
 * @module
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setImmediate } from "node:timers/promises";
import type { ErrorShape } from "../dialects/dialect.ts";
import { HttpError } from "../dialects/http_error.ts";
import { openAiError } from "../dialects/openai/error_shape.ts";
import { Connections } from "./connections.ts";
import { standardError } from "./standard_output.ts";

/** How long a caller may take. No time is set to an answer: streams take what they take. */
export interface HttpTimeouts {
  /** From the connection, or from the first byte of a later request, to the end of the head. */
  readonly headersMs: number;
  /** The same to the end of the body. */
  readonly requestMs: number;
  /** Between an answer and the next request; node adds a second to what it tells the caller. */
  readonly keepAliveMs: number;
  /** How often connections are looked at: the first two times may be exceeded by so much. */
  readonly checkMs: number;
}

/** Proxies keep idle connections for 60 s: ours outlast theirs, so none sends into a closed one. */
export const HTTP_TIMEOUTS: HttpTimeouts = {
  headersMs: 20_000,
  requestMs: 60_000,
  keepAliveMs: 75_000,
  checkMs: 1000,
};

/** A server that listens. */
export interface HttpServer {
  readonly port: number;
  /** Takes no connections any more. Resolves when those that are open have ended. */
  shutdown(): Promise<void>;
}

type Handler = (request: Request) => Response | Promise<Response>;

/** Only a request's path is read, so a caller's Host header has no say in its URL. */
const ORIGIN = "http://localhost";

/** @throws what the operating system or Deno's permissions say against the address */
export async function listen(
  { host, port, maxConnections, errorShapeOf = () => openAiError, timeouts = HTTP_TIMEOUTS }: {
    readonly host: string;
    readonly port: number;
    readonly maxConnections: number;
    /** The form of an error that ends a request before the handler has it; a path where it is known. */
    readonly errorShapeOf?: (path: string | undefined) => ErrorShape;
    readonly timeouts?: HttpTimeouts;
  },
  handler: Handler,
): Promise<HttpServer> {
  const server = createServer({
    requireHostHeader: false, // requestOf() refuses in our form
    headersTimeout: timeouts.headersMs,
    requestTimeout: timeouts.requestMs,
    keepAliveTimeout: timeouts.keepAliveMs,
    connectionsCheckingInterval: timeouts.checkMs,
  });
  const connections = new Connections(maxConnections);
  server.on("connection", (socket: Socket) => connections.add(socket));
  const exchanges = new Exchanges(errorShapeOf);
  const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    connections.begin(incoming);
    outgoing.on("finish", () => passRest(incoming, timeouts.requestMs));
    outgoing.on("close", () => connections.end(incoming));
    exchanges.take(incoming.socket, outgoing, () => answer(handler, incoming, outgoing, exchanges));
  };
  server.on("request", onRequest);
  server.on("checkExpectation", onRequest); // an expectation that nobody knows changes nothing
  server.on("connect", (_incoming, socket) => exchanges.refuse(socket, BAD_REQUEST));
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    exchanges.refuse(socket, refusalOf(error, timeouts));
  });
  server.listen({ host, port });
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    shutdown: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** The requests of each connection: answered one at a time, however many were sent at once. */
class Exchanges {
  readonly #open = new WeakMap<object, Set<ServerResponse>>();
  readonly #last = new WeakMap<object, Promise<void>>();

  constructor(readonly errorShapeOf: (path: string | undefined) => ErrorShape) {}

  take(socket: Duplex, outgoing: ServerResponse, answer: () => Promise<void>): void {
    const open = this.#open.get(socket) ?? new Set();
    this.#open.set(socket, open.add(outgoing));
    const closed = new Promise<void>((resolve) => {
      outgoing.on("close", () => {
        open.delete(outgoing);
        resolve();
      });
    });
    const before = this.#last.get(socket);
    this.#last.set(socket, closed);
    before === undefined ? answer() : before.then(() => socket.destroyed ? undefined : answer());
  }

  /**
   * Answers what has come last, past the request that it belongs to. Where another request still has its
   * answer to come, or a part of it has left, only the end is left to say.
   */
  refuse(socket: Duplex, refusal: HttpError): void {
    const [first, ...others] = this.#open.get(socket) ?? [];
    const isOther = others.length > 0 || first?.headersSent === true ||
      first?.req.complete === true;
    if (isOther || !socket.writable) socket.destroy();
    else refuse(socket, refusal, this.errorShapeOf(first && pathOf(first.req)));
  }
}

/** Never rejects: a connection that broke off is the caller's affair, and the access log tells. */
async function answer(
  handler: Handler,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  exchanges: Exchanges,
): Promise<void> {
  const left = new AbortController();
  outgoing.on("close", () => {
    if (!outgoing.writableFinished) left.abort();
  });
  // A write to a connection that broke a moment ago is an error event; "close" follows it.
  outgoing.on("error", () => {});
  const request = requestOf(incoming, left);
  if (request === undefined) return exchanges.refuse(incoming.socket, BAD_REQUEST);
  try {
    await send(await handler(request), outgoing, left.signal);
  } catch (error) {
    // Once the head has left, only a broken connection says that the body is not whole.
    if (!outgoing.headersSent && !left.signal.aborted) {
      standardError.line(`Cannot answer: ${Deno.inspect(error)}`);
    }
    outgoing.destroy();
  }
}

/**
 * Lets the rest of a body pass whose answer has left, so that another request may follow. node's own
 * check ends with the answer.
 */
function passRest(incoming: IncomingMessage, requestMs: number): void {
  if (incoming.complete) return;
  // A reader that stopped midway would hold it back.
  incoming.removeAllListeners("readable").resume();
  // No event tells that a body which nobody reads is complete.
  setTimeout(() => incoming.complete || incoming.socket.destroy(), requestMs);
}

/** Of the request's target; undefined where it is none. */
function pathOf({ url = "/" }: IncomingMessage): string | undefined {
  return URL.parse(url, ORIGIN)?.pathname;
}

/**
 * Undefined for what no `Request` can be made of: a forbidden method, a target that is no URL, a host
 * that is missing or told twice.
 */
function requestOf(incoming: IncomingMessage, left: AbortController): Request | undefined {
  const { method = "GET", url = "/", rawHeaders, httpVersion } = incoming;
  const numHosts = rawHeaders.filter((name, i) => i % 2 === 0 && /^host$/i.test(name)).length;
  if (numHosts > 1 || (numHosts === 0 && httpVersion === "1.1")) return undefined;
  const body = method === "GET" || method === "HEAD" ? null : bodyOf(incoming, left);
  try {
    const headers = new Headers();
    for (let i = 0; i < rawHeaders.length; i += 2) {
      headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
    }
    const { pathname, search } = new URL(url.startsWith("/") ? ORIGIN + url : url);
    const target = ORIGIN + pathname + search;
    // fetch makes no Request of TRACE; no route has either, and says which it has.
    const asked = method === "TRACE" ? "UNSUPPORTED" : method;
    return new Request(target, { method: asked, headers, body, signal: left.signal });
  } catch {
    return undefined;
  }
}

function bodyOf(incoming: IncomingMessage, left: AbortController): ReadableStream<Uint8Array> {
  const pieces: AsyncIterator<Uint8Array> = incoming[Symbol.asyncIterator]();
  // Without cancel(): the iterator's return() would close the connection, and with it the answer
  // that says why the rest of the body is not wanted.
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(new Uint8Array(value));
      } catch (error) {
        // Before the reader hears of it, so that it is taken for what it is.
        left.abort();
        throw error;
      }
    },
  }, { highWaterMark: 0 });
}

/** @throws the error that the response's body ends with */
async function send(
  response: Response,
  outgoing: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return await response.body?.cancel();
  outgoing.statusCode = response.status;
  outgoing.setHeaders(response.headers);
  if (response.body === null) {
    outgoing.end();
    return;
  }
  const reader = response.body.getReader();
  signal.addEventListener("abort", () => reader.cancel().catch(() => {}));

  let next = reader.read();
  const first = await atOnce(next);
  if (first === undefined) outgoing.flushHeaders();
  else if (!first.done) {
    next = reader.read();
    // A body that is whole already leaves with its length.
    if ((await atOnce(next))?.done) return void outgoing.end(first.value);
    outgoing.write(first.value);
  }
  for (let result = await next; !result.done; result = await reader.read()) {
    if (!outgoing.write(result.value)) await drained(outgoing, signal);
  }
  outgoing.end();
}

/** The promise's value, or undefined when it has to be waited for. */
function atOnce<T>(promise: Promise<T>): Promise<T | undefined> {
  return Promise.race([promise, setImmediate(undefined)]);
}

/** Resolves when the caller has taken enough that more may follow, or has left. */
async function drained(outgoing: ServerResponse, signal: AbortSignal): Promise<void> {
  await once(outgoing, "drain", { signal }).catch(() => {});
}

const BAD_REQUEST = new HttpError(
  400,
  "invalid_request",
  "Cannot read request: it is not HTTP/1.1",
);

function refusalOf({ code }: NodeJS.ErrnoException, timeouts: HttpTimeouts): HttpError {
  if (code === "HPE_HEADER_OVERFLOW") {
    return new HttpError(431, "head_too_large", "Cannot read request: its head is too large");
  }
  if (code !== "ERR_HTTP_REQUEST_TIMEOUT") return BAD_REQUEST;
  const message = `Cannot read request: its head must be here within ${timeouts.headersMs} ms, ` +
    `its body within ${timeouts.requestMs} ms`;
  return new HttpError(408, "request_timeout", message);
}

/** Answers what is no request, where there is a socket and nothing else; then closes. */
function refuse(socket: Duplex, refusal: HttpError, errorShape: ErrorShape): void {
  const body = JSON.stringify(errorShape(refusal));
  const text = [
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}`,
    "content-type: application/json",
    `content-length: ${body.length}`,
    "connection: close",
    "",
    body,
  ].join("\r\n");
  socket.end(text, () => socket.destroy());
}
