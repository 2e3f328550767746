/**
 * One check of the API key before all routes but `/health` and `/ready`, and the salt that keeps
 * warm KV blocks of different keys apart.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { createMiddleware } from "hono/factory";
import type { Env } from "../env.ts";
import { HttpError } from "../errors.ts";

const OPEN_ROUTES = new Set(["/health", "/ready"]);

/**
 * `Authorization: Bearer KEY` must name one of `apiKeys`. Digests of equal length are compared, all
 * of them, so that the time tells neither the length of a key nor which one came close.
 */
export function authentication(
  { apiKeys, sharePrefixesAcrossKeys }: {
    readonly apiKeys: readonly string[];
    readonly sharePrefixesAcrossKeys: boolean;
  },
) {
  const digests = apiKeys.map(sha256);
  return createMiddleware<Env>(async function authentication(c, next) {
    c.set("salt", "");
    if (digests.length > 0 && !OPEN_ROUTES.has(c.req.path) && c.req.method !== "OPTIONS") {
      const key = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "")?.[1];
      if (key === undefined) {
        const message = "Cannot authenticate: send the API key as `Authorization: Bearer KEY`";
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
      if (!sharePrefixesAcrossKeys) c.set("salt", digest.toString("hex"));
    }
    await next();
  });
}

function sha256(text: string): Uint8Array & { toString(encoding: "hex"): string } {
  return createHash("sha256").update(text).digest();
}
