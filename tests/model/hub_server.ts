/**
 * A server that speaks the Hub's routes and misbehaves on demand.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** What happens to one request for a file's bytes. */
export type Mishap =
  /** Status instead of bytes. */
  | { readonly status: number }
  /** The connection breaks after so many bytes of the body. */
  | { readonly cutAfter: number }
  /** The body stands still after so many bytes. */
  | { readonly stallAfter: number }
  /** Other bytes of the same length. */
  | { readonly wrongBytes: true }
  /** The Range header is overlooked: the whole file, status 200. */
  | { readonly ignoreRange: true }
  /** A 206 that begins elsewhere. */
  | { readonly shiftRange: number };

/** A request that the server saw. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly range: string | null;
  readonly authorization: string | null;
}

const COMMIT = "0123456789abcdef0123456789abcdef01234567";

/** Where the server's one repository is. */
export interface Place {
  readonly repo: string;
  /** What `main` means. */
  readonly commit: string;
}

/** One repository with the given files. */
export class HubServer implements AsyncDisposable {
  readonly seen: SeenRequest[] = [];
  /** Taken one by one by requests for bytes. */
  readonly mishaps: Mishap[] = [];
  readonly repo: string;
  readonly commit: string;
  /** Requests without it are 401. */
  token: string | undefined;
  readonly #files: Map<string, Uint8Array<ArrayBuffer>>;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #stalled = new AbortController();

  constructor(
    files: Readonly<Record<string, Uint8Array | string>>,
    { repo, commit }: Place = { repo: "org/name", commit: COMMIT },
  ) {
    this.repo = repo;
    this.commit = commit;
    const utf8 = new TextEncoder();
    this.#files = new Map(
      Object.entries(files).map(([name, content]) => [
        name,
        typeof content === "string" ? utf8.encode(content) : content as Uint8Array<ArrayBuffer>,
      ]),
    );
    this.#server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {}, onError: () => new Response(null) },
      (request) => this.#answer(request),
    );
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** Requests for bytes, as `path range`. */
  get transfers(): string[] {
    return this.seen.filter(({ path }) => path.includes("/resolve/"))
      .map(({ path, range }) => `${path.split("/").at(-1)} ${range ?? "whole"}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stalled.abort();
    await this.#server.shutdown();
  }

  #answer(request: Request): Response {
    const { pathname } = new URL(request.url);
    const authorization = request.headers.get("authorization");
    const range = request.headers.get("range");
    this.seen.push({ method: request.method, path: pathname, range, authorization });
    if (this.token !== undefined && authorization !== `Bearer ${this.token}`) {
      return Response.json({ error: "Access is restricted" }, { status: 401 });
    }
    const [, name, rest] = /^\/(?:api\/models\/)?([\w.-]+\/[\w.-]+)\/(.*)$/.exec(pathname) ?? [];
    if (name !== this.repo || rest === undefined) {
      return Response.json({ error: "Repository not found" }, { status: 404 });
    }
    if (rest === "revision/main") return Response.json({ id: "x", sha: this.commit });
    if (rest === `tree/${this.commit}`) return Response.json(this.#tree());
    const file = rest.startsWith(`resolve/${this.commit}/`)
      ? this.#files.get(decodeURIComponent(rest.slice(`resolve/${this.commit}/`.length)))
      : undefined;
    if (!file) return Response.json({ error: "Entry not found" }, { status: 404 });
    return this.#bytes(file, range, this.mishaps.shift());
  }

  /** Larger files are in LFS, the others plain git blobs. */
  #tree() {
    return [...this.#files].map(([path, content]) => {
      const git = createHash("sha1").update(`blob ${content.length}\0`).update(content);
      const entry = { type: "file", path, size: content.length, oid: git.digest("hex") };
      const sha256 = createHash("sha256").update(content).digest("hex");
      return content.length < 1000
        ? entry
        : { ...entry, lfs: { oid: sha256, size: content.length, pointerSize: 130 } };
    });
  }

  #bytes(
    file: Uint8Array<ArrayBuffer>,
    range: string | null,
    mishap: Mishap | undefined,
  ): Response {
    if (mishap && "status" in mishap) return new Response("no", { status: mishap.status });
    const asked = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    const ignored = mishap !== undefined && "ignoreRange" in mishap;
    const start = (ignored ? 0 : asked) +
      (mishap && "shiftRange" in mishap ? mishap.shiftRange : 0);
    if (start >= file.length) return new Response(null, { status: 416 });
    const rest = file.subarray(start);
    const body = mishap && "wrongBytes" in mishap ? rest.map(() => 0x21) : rest;
    const status = range !== null && !ignored ? 206 : 200;
    const headers: Record<string, string> = status === 206
      ? { "content-range": `bytes ${start}-${file.length - 1}/${file.length}` }
      : {};
    if (mishap && "cutAfter" in mishap) {
      return new Response(this.#broken(rest.subarray(0, mishap.cutAfter), true), {
        status,
        headers,
      });
    }
    if (mishap && "stallAfter" in mishap) {
      return new Response(this.#broken(rest.subarray(0, mishap.stallAfter), false), {
        status,
        headers,
      });
    }
    return new Response(body, { status, headers });
  }

  /** A body that gives some bytes, then breaks or stands still. */
  #broken(
    bytes: Uint8Array<ArrayBuffer>,
    breaks: boolean,
  ): ReadableStream<Uint8Array<ArrayBuffer>> {
    const stalled = this.#stalled.signal;
    return new ReadableStream({
      async start(controller) {
        controller.enqueue(bytes);
        await new Promise<void>((resolve) => {
          if (breaks) setTimeout(resolve, 50); // let the bytes leave first
          else stalled.addEventListener("abort", () => resolve());
        });
        controller.error(new Error("cut"));
      },
    });
  }
}
