/**
 * Who calls: one check of the API key, the salt that keeps warm KV blocks of different callers apart, how
 * much one caller may have open, and how large its share is where several wait.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { createMiddleware } from "hono/factory";
import type { Env } from "./env.ts";
import { HttpError } from "../dialects/http_error.ts";
import { PROBES } from "./probes.ts";

/** Whose request it is. */
export interface Caller {
  /** Of the key's digest, for the log and for turns; "" where no key was asked for. */
  readonly id: string;
  /** Of its turns. */
  readonly weight: number;
  /** Names whose warm KV blocks this caller may share; "" for everybody's. */
  readonly salt: string;
  readonly limits: {
    /** Requests at a time. */
    readonly openRequests: number;
  };
}

/**
 * What needs no key: probes, and the description of the API, which a browser shows and which tells nothing
 * of this server. `/metrics` needs one, as it tells how much is asked.
 */
const OPEN_ROUTES: ReadonlySet<string> = new Set([...PROBES, "/", "/docs", "/openapi.json"]);

/** Whether a path needs no key. */
export function isOpen(path: string): boolean {
  return OPEN_ROUTES.has(path);
}

/** Where a key may stand, as OpenAPI says it. */
export const KEY_HEADERS = {
  apiKey: { type: "http", scheme: "bearer" },
  xApiKey: { type: "apiKey", in: "header", name: "x-api-key" },
  azureApiKey: { type: "apiKey", in: "header", name: "api-key" },
} as const;

const NOBODY: Caller = { id: "", weight: 1, salt: "", limits: { openRequests: Infinity } };

/**
 * `Authorization: Bearer KEY`, `x-api-key` (Anthropic's clients) or `api-key` (Azure's) must name one
 * of `apiKeys`. Digests of equal length are compared, all of them, so that the time tells neither the
 * length of a key nor which one came close.
 */
export function identifyCaller(
  { apiKeys, keyWeights, sharePrefixesAcrossKeys, maxRequestsPerKey }: {
    readonly apiKeys: readonly string[];
    /** `KEY=N`. */
    readonly keyWeights: readonly string[];
    readonly sharePrefixesAcrossKeys: boolean;
    /** 0: no bound. */
    readonly maxRequestsPerKey: number;
  },
) {
  const digests = apiKeys.map(sha256);
  const weights = weightsOf(keyWeights);
  return createMiddleware<Env>(async function identifyCaller(c, next) {
    c.set("caller", NOBODY);
    if (digests.length > 0 && !isOpen(c.req.path) && c.req.method !== "OPTIONS") {
      const key = keyOf((name) => c.req.header(name));
      if (key === undefined) {
        const message = "Cannot authenticate: send the API key as `Authorization: Bearer KEY`, " +
          "`x-api-key: KEY` or `api-key: KEY`";
        throw new HttpError(401, "missing_api_key", message);
      }
      const digest = sha256(key);
      const matches = digests.filter((known) => timingSafeEqual(known, digest)).length;
      if (matches === 0) {
        throw new HttpError(
          401,
          "invalid_api_key",
          "Cannot authenticate: the API key is not known",
        );
      }
      const name = digest.toString("hex");
      c.set("caller", {
        id: name.slice(0, 12),
        weight: weights.get(key) ?? 1,
        salt: sharePrefixesAcrossKeys ? "" : name,
        limits: { openRequests: maxRequestsPerKey === 0 ? Infinity : maxRequestsPerKey },
      });
    }
    await next();
  });
}

/** Refuses a request beyond its caller's limits. */
export function limitCaller() {
  const open = new Map<string, number>();
  return createMiddleware<Env>(async function limitCaller(c, next) {
    const { record, caller: { id, limits } } = c.var;
    if (limits.openRequests === Infinity) return await next();
    const count = open.get(id) ?? 0;
    if (count >= limits.openRequests) {
      const message =
        `Cannot answer: a key may have ${limits.openRequests} requests open at a time`;
      throw new HttpError(429, "too_many_requests", message, null, 1000);
    }
    open.set(id, count + 1);
    try {
      await next();
    } finally {
      record.finished.then(() => {
        const left = open.get(id)! - 1;
        if (left > 0) open.set(id, left);
        else open.delete(id);
      });
    }
  });
}

/**
 * The salt of a request: its caller's, and what it asks for itself (`cache_salt`), which can only
 * narrow who shares.
 */
export function saltOf(caller: Caller, requestSalt: string | undefined): string {
  return requestSalt === undefined ? caller.salt : `${caller.salt}/${requestSalt}`;
}

/** Weights by key, out of `KEY=N`; a key may have = in it. */
export function weightsOf(keyWeights: readonly string[]): ReadonlyMap<string, number> {
  return new Map(keyWeights.map((text) => {
    const at = text.lastIndexOf("=");
    return [text.slice(0, at), Number(text.slice(at + 1))];
  }));
}

function keyOf(header: (name: string) => string | undefined): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(header("authorization") ?? "")?.[1];
  return bearer ?? header("x-api-key") ?? header("api-key");
}

function sha256(text: string): Uint8Array & { toString(encoding: "hex"): string } {
  return createHash("sha256").update(text).digest();
}
