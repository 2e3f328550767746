/**
 * A server on loopback without a key answers loopback's names alone. A page whose name is made to point
 * at this machine (DNS rebinding) has its server's origin and could read every answer; its requests
 * still carry its own name.
 *
 * @module
 */
import { createMiddleware } from "hono/factory";
import type { Env } from "./env.ts";
import { HttpError } from "../dialects/http_error.ts";

const LOOPBACK_HOSTS: readonly string[] = ["localhost", "127.0.0.1", "[::1]"];

/** Whether an address to listen on is this machine's own alone. */
export function isLoopback(host: string): boolean {
  return /^(localhost|::1|(0*:){7}0*1|127(\.\d{1,3}){3})$/i.test(host);
}

/**
 * Names that `Host` may have where a server listens; none: any. They are checked on loopback without a
 * key, and wherever names were given.
 */
export function hostsOf(
  listening: string,
  { apiKeys, allowedHosts }: {
    readonly apiKeys: readonly string[];
    readonly allowedHosts: readonly string[];
  },
): readonly string[] {
  const isOpen = isLoopback(listening) && apiKeys.length === 0;
  if (!isOpen && allowedHosts.length === 0) return [];
  const own = listening.includes(":") ? `[${listening}]` : listening;
  return [...new Set([...LOOPBACK_HOSTS, own, ...allowedHosts])];
}

/** @param hosts names that `Host` may have, whatever the port */
export function allowHosts(hosts: readonly string[]) {
  const allowed = new Set(hosts.map((host) => host.toLowerCase()));
  return createMiddleware<Env>(async function allowHosts(c, next) {
    const host = nameOf(c.req.header("host") ?? new URL(c.req.url).host);
    if (!allowed.has(host)) {
      throw new HttpError(
        403,
        "host_not_allowed",
        `Cannot answer: Host must be one of ${hosts.join(", ")}, or be named by --allowed-host`,
      );
    }
    await next();
  });
}

/** Without the port, in lower case; IPv6 addresses keep their brackets. */
function nameOf(host: string): string {
  return host.replace(/:\d*$/, "").toLowerCase();
}
