/**
 * Values made of the API's own description, sent to it: never a failure of ours, never a long turn.
 * `HEARTH_FUZZ_SECONDS` says how long, `HEARTH_TEST_SEED` repeats a run.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Engine } from "../../mod.ts";
import { allowLongTurns, LONGEST_TURN_MS, TurnWatch } from "../event_loop_guard.ts";
import { Harness, settled } from "../http/harness.ts";
import { type Schema, valuesOf } from "./schema_values.ts";

const SECONDS = Number(Deno.env.get("HEARTH_FUZZ_SECONDS") ?? 5);
const SEED = Number(Deno.env.get("HEARTH_TEST_SEED") ?? Date.now() & 0x7fffffff);
/** Answers are short, whatever is asked for. */
const MAX_MODEL_LEN = 64;
/** A caller who asks for a deadline, or for more than there is, is told so. */
const OURS = new Set([500, 501, 502]);

interface Description {
  readonly paths: Record<string, { readonly post?: { readonly requestBody: Body } }>;
  readonly components: { readonly schemas: Record<string, Schema> };
}
interface Body {
  readonly content: { readonly "application/json": { readonly schema: Schema } };
}

Deno.test(`what the description allows, and nearly so, is answered in short turns: seed ${SEED}`, async () => {
  allowLongTurns("it watches turns itself, and asks twice");
  const engine = await Engine.open("tests/data/smollm2-bf16", {
    numThreads: 1,
    maxModelLen: MAX_MODEL_LEN,
  });
  await using harness = new Harness(engine);
  const { paths, components }: Description = await (await harness.get("/openapi.json")).json();
  const resolve = (ref: string) => components.schemas[ref.split("/").at(-1)!]!;
  const asked = fc.oneof(
    ...Object.entries(paths).filter(([, { post }]) => post !== undefined).map(([path, { post }]) =>
      valuesOf(post!.requestBody.content["application/json"].schema, resolve)
        .map((body) => ({ path, body }))
    ),
  );
  // What loads late is there before turns are looked at.
  await (await harness.post("/v1/completions", { prompt: "a ".repeat(400) })).text();
  const counts = new Map<number, number>();
  const property = fc.asyncProperty(asked, async ({ path, body }) => {
    const text = JSON.stringify(body);
    const ask = async () => {
      const watch = new TurnWatch();
      const close = watch.open();
      const answer = await harness.post(path, text);
      const said = await answer.text();
      close();
      counts.set(answer.status, (counts.get(answer.status) ?? 0) + 1);
      assert.ok(!OURS.has(answer.status), `${answer.status}: ${said.slice(0, 500)}`);
      assert.ok(!said.includes('"internal_error"'), said.slice(-500));
      return watch.longestMs;
    };
    // Asked twice where it takes long: the garbage of 30,000 others may be collected in its turn.
    const longest = await ask();
    const again = longest > LONGEST_TURN_MS ? await ask() : 0;
    assert.ok(again <= LONGEST_TURN_MS, `a turn of ${longest} ms, and one of ${again} ms`);
  });
  await fc.assert(property, {
    seed: SEED,
    numRuns: 1_000_000,
    interruptAfterTimeLimit: SECONDS * 1000,
    markInterruptAsFailure: false,
  });
  await settled(engine);
  assert.ok((counts.get(200) ?? 0) > 0 && (counts.get(400) ?? 0) > 0, `${[...counts]}`);
});
