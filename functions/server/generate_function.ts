/**
 * A dialect as an HTTP function: one way for a request, whatever API it speaks.
 *
 *   bytes → body → model → requests → runs → writer → JSON or events
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { bytesOf, bytesOfLogprobs } from "../../engine/sequence_log.ts";
import type { Run, RunResult } from "../../engine/types.ts";
import type { AnyBody, Dialect, Writer } from "../dialects/dialect.ts";
import { outputTooLong, type UnreadOutput } from "../../engine/unread_output.ts";
import { refuseLargeAnswer } from "./answer_size.ts";
import { readBody } from "./body.ts";
import { eventStreamContent, generateErrors } from "./described_responses.ts";
import type { Env, HttpFunction } from "./env.ts";
import { eventStream } from "./event_stream.ts";
import { interleave } from "./interleave.ts";
import { lateJson } from "./late_json.ts";
import { submitAll } from "./submit.ts";

/** The function of a dialect, to be mounted. */
export function generateFunction<Body extends AnyBody>(dialect: Dialect<Body>): HttpFunction {
  const app = new OpenAPIHono<Env>();
  const { routes, operationId, summary, schema, errorSchema, errorShape } = dialect;
  const { description, schema: whole } = dialect.answer;
  app.openAPIRegistry.registerPath({
    method: "post",
    path: routes[0]!,
    operationId,
    tags: ["Generate"],
    summary,
    request: { body: { required: true, content: { "application/json": { schema } } } },
    responses: {
      200: {
        description,
        content: { "application/json": { schema: whole }, ...eventStreamContent },
      },
      ...generateErrors(errorSchema),
    },
  });
  for (const path of routes) app.post(path, (c) => answer(c, dialect));
  return Object.assign(app, { form: { routes, errorShape } });
}

async function answer<Body extends AnyBody>(c: Context<Env>, dialect: Dialect<Body>) {
  const { isStream, runs, writer, unread } = await begin(c, dialect);
  const cancel = () => runs.forEach((run) => run.cancel());
  if (isStream) return eventStream(c, eventsOf(runs, writer), { cancel, form: dialect.sse });
  const tooMuch = new AbortController();
  const kept = unread.open(() => {
    kept.bytes = 0;
    tooMuch.abort(outputTooLong(unread.maxRequestBytes));
  });
  const whole = resultsOf(runs, cancel).then((results) => {
    kept.bytes = sizeOf(results);
    return writer.whole(results);
  });
  const { signal } = tooMuch;
  const response = await lateJson(c, whole, { cancel, signal });
  c.var.record.finished.then(() => kept.bytes = 0);
  return response;
}

/** An answer of which a part is missing is none: what else runs for it ends. */
async function resultsOf(runs: readonly Run[], cancel: () => void): Promise<RunResult[]> {
  try {
    return await Promise.all(runs.map((run) => run.result()));
  } catch (error) {
    cancel();
    throw error;
  }
}

/** Memory that results take until they are written, about. */
function sizeOf(results: readonly RunResult[]): number {
  return results.reduce(
    (sum, { sequences, promptLogprobs = [] }) =>
      sequences.reduce((sum, one) => sum + bytesOf(one), sum + bytesOfLogprobs(promptLogprobs)),
    0,
  );
}

/** A function of its own, so that nothing holds the body once it is submitted. */
async function begin<Body extends AnyBody>(
  c: Context<Env>,
  dialect: Dialect<Body>,
): Promise<{
  readonly isStream: boolean;
  readonly runs: readonly Run[];
  readonly writer: Writer;
  readonly unread: UnreadOutput;
}> {
  const { models } = c.var.instance;
  models.requireAny("ready");
  const body = await readBody(c, dialect.schema);
  const { name, model } = models.resolve(body.model);
  const engine = model.require("ready");
  const requests = dialect.toRequests(body);
  const isStream = body.stream ?? false;
  if (!isStream) refuseLargeAnswer(requests);
  const { fingerprint, unread } = engine;
  const { tokenizer } = engine.model;
  const runs = await submitAll(c, engine, requests, (i) => dialect.names?.(body, i));
  const writer = dialect.writer(body, { model: name, fingerprint, tokenizer, runs });
  return { isStream, runs, writer, unread };
}

/** Events that are ready together, at least one at a time. */
async function* eventsOf(
  runs: readonly Run[],
  writer: Writer,
): AsyncGenerator<readonly object[], void, void> {
  const begin = writer.begin();
  if (begin.length > 0) yield begin;
  for await (const { source, value } of interleave(runs)) {
    const events = writer.chunk(source, value);
    if (events.length > 0) yield events;
  }
  const end = writer.end();
  if (end.length > 0) yield end;
}
