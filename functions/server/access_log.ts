/**
 * One line a request, written when its answer has left.
 *
 * @module
 */
import { createMiddleware } from "hono/factory";
import type { Env } from "./env.ts";
import { PROBES } from "./probes.ts";
import { standardOutput } from "./standard_output.ts";

/** Of a path, encoded as it came: a caller writes no lines of ours, and none of 16 KiB. */
const MAX_PATH_LENGTH = 200;

/** Probes that find all well are left out unless asked for. */
export function accessLog(
  { format, logProbes = false }: {
    readonly format: "text" | "json" | "off";
    readonly logProbes?: boolean;
  },
) {
  return createMiddleware<Env>(async function accessLog(c, next) {
    await next();
    if (format === "off") return;
    const { record, requestId, caller } = c.var;
    const { method, path } = c.req;
    const answered = c.res.status;
    if (!logProbes && PROBES.has(path) && answered < 400) return;
    record.finished.then(() => {
      const status = record.statusOf(answered);
      const fields = {
        time: new Date().toISOString(),
        method,
        path: pathOf(c.req.url),
        status,
        ms: Math.round(record.elapsedMs() * 10) / 10,
        ...(record.firstTokenMs !== undefined && {
          ttft_ms: Math.round(record.firstTokenMs * 10) / 10,
          prompt_tokens: record.promptTokens,
          cached_tokens: record.cachedTokens,
          output_tokens: record.outputTokens,
        }),
        ...(caller?.id && { caller: caller.id }),
        request_id: requestId,
      };
      standardOutput.line(format === "json" ? JSON.stringify(fields) : textLine(fields));
    });
  });
}

function pathOf(url: string): string {
  const { pathname } = new URL(url);
  return pathname.length > MAX_PATH_LENGTH ? `${pathname.slice(0, MAX_PATH_LENGTH)}…` : pathname;
}

function textLine(
  { time, method, path, status, ...rest }: Record<string, string | number> & {
    readonly time: string;
  },
): string {
  const pairs = Object.entries(rest).map(([name, value]) => `${name}=${value}`).join(" ");
  return `${time} ${method} ${path} ${status} ${pairs}`;
}
