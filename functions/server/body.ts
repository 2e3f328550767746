/**
 * The body of a request: counted and looked over as it comes, parsed once, and nothing of it kept.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HttpError } from "../dialects/http_error.ts";
import { withExactSeed } from "../dialects/exact_seed.ts";
import { describeIssue } from "../dialects/invalid_body.ts";
import { BodyScan } from "./body_scan.ts";
import type { Env } from "./env.ts";
import { inTurn } from "./turn.ts";

const JSON_TYPE = /^application\/([a-z.-]+\+)?json\b/i;

/**
 * The body, checked.
 *
 * @throws {HttpError} 415, 413, 429, or 400 with the first thing that is wrong: one clear sentence
 */
export async function readBody<T>(c: Context<Env>, schema: z.ZodType<T>): Promise<T> {
  if (!JSON_TYPE.test(c.req.header("content-type") ?? "")) {
    const message = "Cannot read request: content-type must be application/json";
    throw new HttpError(415, "unsupported_media_type", message);
  }
  const coding = c.req.header("content-encoding") ?? "identity";
  if (coding !== "identity") {
    const message = "Cannot read request: the body must not be compressed: content-encoding is " +
      coding.slice(0, 80);
    throw new HttpError(415, "unsupported_content_encoding", message);
  }
  const text = await textOf(c);
  return await inTurn(() => checked(parse(text), schema));
}

function checked<T>(json: unknown, schema: z.ZodType<T>): T {
  const { success, data, error } = schema.safeParse(json);
  if (success) return data;
  const { message, param } = describeIssue(error.issues[0]!, json);
  throw new HttpError(400, "invalid_value", message, param);
}

/**
 * Past Hono, which would keep what it reads for as long as the request lasts. Bytes wait outside of V8's heap, and
 * go at once: a heap of refused bodies would grow for as long as V8 sees no need to collect.
 */
async function textOf({ req, var: { body } }: Context<Env>): Promise<string> {
  const scan = new BodyScan();
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  try {
    for await (const bytes of req.raw.body ?? []) {
      body.take(bytes.length);
      pieces.push(bytes);
      await inTurn(() => scan.add(bytes));
    }
    return await inTurn(() => {
      const decoder = new TextDecoder();
      return pieces.map((bytes) => decoder.decode(bytes, { stream: true })).join("") +
        decoder.decode();
    });
  } finally {
    for (const { buffer } of pieces) buffer.transfer(0);
  }
}

function parse(text: string): unknown {
  try {
    return withExactSeed(JSON.parse(text), text);
  } catch {
    throw new HttpError(400, "invalid_json", "Cannot read request: the body is not valid JSON");
  }
}
