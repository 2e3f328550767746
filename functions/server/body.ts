/**
 * The body of a request: read as bytes, looked over before it is parsed, and parsed once.
 *
 * `JSON.parse` of 8 MB of brackets takes more than a second of the event loop, in which nobody is
 * served; of 8 MB of text 10 ms, of numbers 80 and as much again to look at each. So what costs is counted in the bytes first.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import type { HonoRequest } from "hono";
import { HttpError } from "../dialects/http_error.ts";
import { withExactSeed } from "../dialects/exact_seed.ts";
import { describeIssue } from "../dialects/invalid_body.ts";

/** Of one body, at most. The longest chats that are served have a hundredth of it. */
export const MAX_DEPTH = 64, MAX_CONTAINERS = 32_768, MAX_STRINGS = 131_072;
/** Of values that follow another: tokens of prompts. */
export const MAX_COMMAS = 1_048_576;

const JSON_TYPE = /^application\/([a-z.-]+\+)?json\b/i;

/**
 * The body, checked.
 *
 * @throws {HttpError} 415, or 400 with the first thing that is wrong: one clear sentence
 */
export async function readBody<T>(request: HonoRequest, schema: z.ZodType<T>): Promise<T> {
  if (!JSON_TYPE.test(request.header("content-type") ?? "")) {
    const message = "Cannot read request: content-type must be application/json";
    throw new HttpError(415, "unsupported_media_type", message);
  }
  const coding = request.header("content-encoding") ?? "identity";
  if (coding !== "identity") {
    const message = "Cannot read request: the body must not be compressed: content-encoding is " +
      coding.slice(0, 80);
    throw new HttpError(415, "unsupported_content_encoding", message);
  }
  const json = parse(new Uint8Array(await request.arrayBuffer()));
  const { success, data, error } = schema.safeParse(json);
  if (success) return data;
  const { message, param } = describeIssue(error.issues[0]!, json);
  throw new HttpError(400, "invalid_value", message, param);
}

function parse(bytes: Uint8Array): unknown {
  refuseComplex(bytes);
  try {
    const text = new TextDecoder().decode(bytes);
    return withExactSeed(JSON.parse(text), text);
  } catch {
    throw new HttpError(400, "invalid_json", "Cannot read request: the body is not valid JSON");
  }
}

/**
 * Counts what makes parsing slow. Bytes that are no JSON pass: the parser says so better.
 *
 * @throws {HttpError} 400 where a bound is exceeded
 */
export function refuseComplex(bytes: Uint8Array): void {
  let depth = 0, containers = 0, strings = 0, commas = 0;
  for (let at = 0; at < bytes.length; at++) {
    switch (bytes[at]) {
      case QUOTE:
        if (++strings > MAX_STRINGS) refuse(`have at most ${MAX_STRINGS} strings, names included`);
        at = endOfString(bytes, at + 1);
        break;
      case OPEN_OBJECT:
      case OPEN_ARRAY:
        if (++containers > MAX_CONTAINERS) {
          refuse(`have at most ${MAX_CONTAINERS} objects and arrays`);
        }
        if (++depth > MAX_DEPTH) refuse(`be nested at most ${MAX_DEPTH} levels deep`);
        break;
      case CLOSE_OBJECT:
      case CLOSE_ARRAY:
        depth--;
        break;
      case COMMA:
        if (++commas > MAX_COMMAS) refuse(`have at most ${MAX_COMMAS} values`);
    }
  }
}

const QUOTE = 0x22, BACKSLASH = 0x5c, COMMA = 0x2c;
const OPEN_OBJECT = 0x7b, CLOSE_OBJECT = 0x7d, OPEN_ARRAY = 0x5b, CLOSE_ARRAY = 0x5d;

/** Where the quote lies that ends a string which begins at `from`; the end where there is none. */
function endOfString(bytes: Uint8Array, from: number): number {
  for (let at = from; at < bytes.length; at++) {
    if (bytes[at] === BACKSLASH) at++;
    else if (bytes[at] === QUOTE) return at;
  }
  return bytes.length;
}

function refuse(rule: string): never {
  throw new HttpError(400, "invalid_value", `Cannot read request: the body must ${rule}`);
}
