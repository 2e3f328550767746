/**
 * One file over HTTP: resumed where a transfer was cut, checked, and put in place whole or not at
 * all.
 *
 * Bytes go to `TARGET.incomplete`, which stays when the transfer fails: the next attempt, in this
 * process or a later one, asks for the rest by Range. It is locked meanwhile, so that a second
 * process waits instead of writing into it. The target appears by rename, after the digest agreed
 * and the data reached the disk.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { dirname } from "node:path";
import { ModelError } from "./spec.ts";

/** What a file must hash to: its SHA-256, or its id in git (`sha1("blob SIZE\0" + bytes)`). */
export interface Digest {
  readonly kind: "sha256" | "git";
  readonly hex: string;
}

/** One file to fetch. */
export interface DownloadRequest {
  readonly url: string;
  /**
   * Sent with each attempt, e.g. authorization; dropped by `fetch` when another host takes over.
   */
  readonly headers?: Readonly<Record<string, string>>;
  /** Path of the finished file; its folder is made. */
  readonly target: string;
  readonly bytes: number;
  readonly digest: Digest;
  /** Called with the bytes there so far, those of earlier attempts included. */
  readonly progress?: ((received: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How long to wait for the answer's head; default 10 s. */
  readonly connectTimeoutMs?: number;
  /** How long to wait for the next bytes of the body; default 30 s. */
  readonly stallTimeoutMs?: number;
  /** Waits between attempts that brought nothing; one that brought bytes starts over. */
  readonly retryDelaysMs?: readonly number[];
}

const RETRY_DELAYS_MS = [500, 1000, 2000, 4000, 8000];

/** A failure that the next attempt may not see. */
class Interrupted extends Error {}

/**
 * Fetch a file unless it is there already.
 *
 * @throws {ModelError} when the server refuses, the bytes are not those promised, or every attempt
 * failed; the partial file stays unless its bytes were wrong
 */
export async function download(request: DownloadRequest): Promise<void> {
  const { target } = request;
  if (sizeOf(target) === request.bytes) return;
  await makeWritable(dirname(target));
  const partial = `${target}.incomplete`;
  using lock = await Deno.open(partial, { create: true, write: true });
  await lock.lock(true);
  if (sizeOf(target) === request.bytes) return; // another process was quicker
  try {
    await fetchChecked(request, partial);
    await publish(partial, target);
  } catch (error) {
    if (sizeOf(partial) === 0) await Deno.remove(partial).catch(() => undefined);
    throw error;
  }
}

/**
 * Makes a folder, in which files can be made then.
 *
 * @throws {ModelError} where it is another's, or the file system can only be read
 */
export async function makeWritable(folder: string): Promise<void> {
  try {
    await Deno.mkdir(folder, { recursive: true });
    await Deno.remove(await Deno.makeTempFile({ dir: folder }));
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new ModelError(`${folder} cannot be written: ${(error as Error).message}`);
  }
}

/** Leaves the whole file, checked, in `partial`. */
async function fetchChecked(request: DownloadRequest, partial: string): Promise<void> {
  const resumed = sizeOf(partial) > 0;
  await transferAll(request, partial);
  if (await hasDigest(partial, request.digest)) return;
  await Deno.truncate(partial);
  if (resumed) {
    // What an earlier run left may be of another version: once from the start.
    await transferAll(request, partial);
    if (await hasDigest(partial, request.digest)) return;
    await Deno.truncate(partial);
  }
  throw new ModelError(
    `Cannot download ${request.url}: the bytes received are not those promised ` +
      `(${request.digest.kind} ${request.digest.hex})`,
  );
}

/** True when a file's contents have the digest. Reads all of it. */
export async function hasDigest(path: string, digest: Digest): Promise<boolean> {
  const hash: Hash = createHash(digest.kind === "sha256" ? "sha256" : "sha1");
  if (digest.kind === "git") hash.update(`blob ${sizeOf(path)}\0`);
  using file = await Deno.open(path);
  const buffer = new Uint8Array(1 << 20);
  for (let read = await file.read(buffer); read !== null; read = await file.read(buffer)) {
    hash.update(buffer.subarray(0, read));
  }
  return hash.digest("hex") === digest.hex;
}

/** Makes a complete file durable under its name. */
export async function publish(partial: string, target: string): Promise<void> {
  {
    using file = await Deno.open(partial, { read: true, write: true });
    await file.sync();
  }
  await Deno.rename(partial, target);
}

/** Size of a file in bytes, 0 where there is none. */
export function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

async function transferAll(request: DownloadRequest, partial: string): Promise<void> {
  const delays = request.retryDelaysMs ?? RETRY_DELAYS_MS;
  for (let failures = 0;;) {
    const before = sizeOf(partial);
    try {
      return await transfer(request, partial);
    } catch (error) {
      request.signal?.throwIfAborted();
      if (!(error instanceof Interrupted)) throw error;
      failures = sizeOf(partial) > before ? 0 : failures + 1;
      const delay = delays[Math.max(0, failures - 1)];
      if (delay === undefined) {
        throw new ModelError(`Cannot download ${request.url}: ${error.message}`);
      }
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
  }
}

/** One attempt: appends to the partial file until it has all bytes. */
async function transfer(request: DownloadRequest, partial: string): Promise<void> {
  const present = sizeOf(partial);
  if (present === request.bytes && present > 0) return;
  using watchdog = new Watchdog(request.signal);
  watchdog.restart(request.connectTimeoutMs ?? 10_000, "no answer");
  const response = await fetch(request.url, {
    headers: {
      ...request.headers,
      "accept-encoding": "identity", // ranges count the file's own bytes
      ...(present > 0 ? { range: `bytes=${present}-` } : {}),
    },
    signal: watchdog.signal,
  }).catch((error) => {
    throw new Interrupted(watchdog.reason ?? (error as Error).message);
  });
  const start = await bodyStart(request, response, present);

  using file = await Deno.open(partial, { create: true, write: true });
  await file.truncate(start);
  await file.seek(start, Deno.SeekMode.Start);
  let received = start;
  const stallTimeoutMs = request.stallTimeoutMs ?? 30_000;
  watchdog.restart(stallTimeoutMs, "no bytes");
  try {
    for await (const piece of response.body ?? []) {
      received += piece.length;
      if (received > request.bytes) break;
      await write(file, piece, partial);
      request.progress?.(received);
      watchdog.restart(stallTimeoutMs, "no bytes");
    }
  } catch (error) {
    if (error instanceof ModelError) throw error;
    throw new Interrupted(
      `cut after ${received} of ${request.bytes} bytes: ` +
        (watchdog.reason ?? (error as Error).message),
    );
  }
  if (received > request.bytes) {
    await file.truncate(0);
    throw new ModelError(
      `Cannot download ${request.url}: it is longer than the ${request.bytes} bytes promised`,
    );
  }
  if (received < request.bytes) {
    throw new Interrupted(`cut after ${received} of ${request.bytes} bytes`);
  }
}

/** Offset in the file of the body's first byte. */
async function bodyStart(
  request: DownloadRequest,
  response: Response,
  present: number,
): Promise<number> {
  const { status } = response;
  if (status === 200) return 0;
  if (status === 206) {
    const range = response.headers.get("content-range") ?? "";
    if (Number(/^bytes (\d+)-/.exec(range)?.[1] ?? NaN) === present) return present;
  }
  await response.body?.cancel();
  if (status === 206 || status === 416) {
    // Our partial file and the server's do not fit together.
    await Deno.truncate(`${request.target}.incomplete`, 0);
    throw new Interrupted(`the server refused to go on at byte ${present} (status ${status})`);
  }
  if (status === 429 || status >= 500) throw new Interrupted(`status ${status}`);
  throw new ModelError(`Cannot download ${request.url}: ${refusal(status)}`);
}

/** What a refusal of the Hub means for the user. */
export function refusal(status: number): string {
  switch (status) {
    case 401:
    case 403:
      return `access is denied (status ${status}): ask for access on the model's page, then set HF_TOKEN`;
    case 404:
      return "there is no such model, revision or file (status 404)";
    default:
      return `status ${status}`;
  }
}

async function write(file: Deno.FsFile, piece: Uint8Array, path: string): Promise<void> {
  try {
    for (let written = 0; written < piece.length;) {
      written += await file.write(piece.subarray(written));
    }
  } catch (error) {
    throw new ModelError(`Cannot write ${path}: ${(error as Error).message}`);
  }
}

/** Aborts a transfer that stands still, or with the caller's signal. */
class Watchdog implements Disposable {
  /** Why it fired, for messages. */
  reason: string | undefined;
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #onOuterAbort = () => this.#controller.abort();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(outer: AbortSignal | undefined) {
    outer?.throwIfAborted();
    outer?.addEventListener("abort", this.#onOuterAbort);
    this.#outer = outer;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  restart(timeoutMs: number, what: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.reason = `${what} for ${timeoutMs / 1000} s`;
      this.#controller.abort();
    }, timeoutMs);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#onOuterAbort);
  }
}
