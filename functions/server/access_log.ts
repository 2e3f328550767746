/**
 * One line a request, written when its answer has left.
 *
 * @module
 */
import { createMiddleware } from "hono/factory";
import type { Env } from "../env.ts";
import { CALLER_LEFT } from "../errors.ts";

/** `write` gets one line without its end. */
export function accessLog(
  { format, write = console.log }: {
    readonly format: "text" | "json" | "off";
    readonly write?: (line: string) => void;
  },
) {
  return createMiddleware<Env>(async function accessLog(c, next) {
    await next();
    if (format === "off") return;
    const { record, requestId } = c.var;
    const { method, path } = c.req;
    const answered = c.res.status;
    record.finished.then(() => {
      const status = record.left ? CALLER_LEFT : record.failedStatus ?? answered;
      const fields = {
        time: new Date().toISOString(),
        method,
        path,
        status,
        ms: Math.round(record.elapsedMs() * 10) / 10,
        ...(record.firstTokenMs !== undefined && {
          ttft_ms: Math.round(record.firstTokenMs * 10) / 10,
          prompt_tokens: record.promptTokens,
          cached_tokens: record.cachedTokens,
          output_tokens: record.outputTokens,
        }),
        request_id: requestId,
      };
      write(format === "json" ? JSON.stringify(fields) : textLine(fields));
    });
  });
}

function textLine(
  { time, method, path, status, ...rest }: Record<string, string | number> & {
    readonly time: string;
  },
): string {
  const pairs = Object.entries(rest).map(([name, value]) => `${name}=${value}`).join(" ");
  return `${time} ${method} ${path} ${status} ${pairs}`;
}
