/**
 * Who calls: one check of the API key before all routes but `/health` and `/ready`, and the salt that
 * keeps warm KV blocks of different callers apart.
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
  /** Names whose warm KV blocks this caller may share; "" for everybody's. */
  readonly salt: string;
}

/**
 * `Authorization: Bearer KEY`, `x-api-key` (Anthropic's clients) or `api-key` (Azure's) must name one
 * of `apiKeys`. Digests of equal length are compared, all of them, so that the time tells neither the
 * length of a key nor which one came close.
 */
export function identifyCaller(
  { apiKeys, sharePrefixesAcrossKeys }: {
    readonly apiKeys: readonly string[];
    readonly sharePrefixesAcrossKeys: boolean;
  },
) {
  const digests = apiKeys.map(sha256);
  return createMiddleware<Env>(async function identifyCaller(c, next) {
    c.set("caller", { salt: "" });
    if (digests.length > 0 && !PROBES.has(c.req.path) && c.req.method !== "OPTIONS") {
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
      if (!sharePrefixesAcrossKeys) c.set("caller", { salt: digest.toString("hex") });
    }
    await next();
  });
}

/**
 * The salt of a request: its caller's, and what it asks for itself (`cache_salt`), which can only
 * narrow who shares.
 */
export function saltOf(caller: Caller, requestSalt: string | undefined): string {
  return requestSalt === undefined ? caller.salt : `${caller.salt}/${requestSalt}`;
}

function keyOf(header: (name: string) => string | undefined): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(header("authorization") ?? "")?.[1];
  return bearer ?? header("x-api-key") ?? header("api-key");
}

function sha256(text: string): Uint8Array & { toString(encoding: "hex"): string } {
  return createHash("sha256").update(text).digest();
}
