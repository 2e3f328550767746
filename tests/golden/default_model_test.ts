/**
 * The default model against Transformers on the same file, dequantized to fp32
 * (tests/data/smollm2-greedy.json: 20 prompts, greedy tokens, margins, log probabilities).
 *
 * @module
 */
import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import type { TemplateMessage } from "../../model/spec.ts";
import { defaultModelPath } from "../../model/default_model.ts";

interface GoldenRow {
  readonly name: string;
  readonly messages?: readonly TemplateMessage[];
  readonly rendered: string;
  readonly prompt_token_ids: readonly number[];
  readonly output_token_ids: readonly number[];
  /** Difference of the two best logits at each step. */
  readonly margins: readonly number[];
  /** Of the first four steps: the eight best (token, logprob). */
  readonly top_logprobs: readonly (readonly (readonly [number, number])[])[];
}

const golden: { readonly rows: readonly GoldenRow[] } = JSON.parse(
  await Deno.readTextFile(new URL("../data/smollm2-greedy.json", import.meta.url)),
);

/** Below this margin two right answers exist: the order of additions decides. */
const CLOSE_CALL = 0.02;

Deno.test("The default model's chat template and tokenizer give the golden prompts", async () => {
  await using engine = await Engine.open(await defaultModelPath());
  for (const row of golden.rows) {
    if (row.messages !== undefined) {
      const prompt = engine.model.chatTemplate!.render(row.messages, { addGenerationPrompt: true });
      assert.equal(prompt, row.rendered, row.name);
    }
    assert.deepEqual(await engine.tokenize(row.rendered), row.prompt_token_ids, row.name);
  }
});

Deno.test("The default model with fp32 activations repeats the golden greedy tokens", async () => {
  await using engine = await Engine.open(await defaultModelPath(), { activationDtype: "fp32" });
  let compared = 0;
  await Promise.all(golden.rows.map(async (row) => {
    const tokens: number[] = [];
    const generation = engine.generate({
      tokens: row.prompt_token_ids,
      maxTokens: row.output_token_ids.length,
      temperature: 0,
    });
    for await (const chunk of generation) tokens.push(...chunk.tokens);
    const differs = row.output_token_ids.findIndex((token, i) => tokens[i] !== token);
    if (differs >= 0) {
      assert.ok(
        row.margins[differs]! < CLOSE_CALL,
        `${row.name}: token ${differs} is ${tokens[differs]}, golden ` +
          `${row.output_token_ids[differs]} by a margin of ${row.margins[differs]}`,
      );
    }
    compared += differs < 0 ? tokens.length : differs;
  }));
  assert.ok(compared > 500, `only ${compared} tokens were compared`);
});

Deno.test("The default model with int8 activations agrees with the golden", async () => {
  await using engine = await Engine.open(await defaultModelPath());
  assert.equal(engine.stats().activationDtype, "int8");
  let agreed = 0, positions = 0;
  let error = 0, errors = 0;
  await Promise.all(golden.rows.map(async (row) => {
    const generation = engine.generate({
      tokens: [...row.prompt_token_ids, ...row.output_token_ids],
      maxTokens: 0,
      promptLogprobs: 1,
    });
    for await (const _ of generation) { /* the prompt alone */ }
    const start = row.prompt_token_ids.length;
    row.output_token_ids.forEach((token, step) => {
      const scored = generation.promptLogprobs![start + step]!;
      assert.equal(scored.token, token);
      positions++;
      if (scored.top[0]!.token === token) agreed++;
      const expected = row.top_logprobs[step]?.find(([id]) => id === token)?.[1];
      if (expected === undefined) return;
      error += Math.abs(scored.logprob - expected);
      errors++;
    });
  }));
  console.log(
    `teacher-forced top-1 agreement ${(agreed / positions).toFixed(4)} of ${positions}, ` +
      `mean logprob error ${(error / errors).toFixed(4)} of ${errors}`,
  );
  assert.ok(agreed / positions >= 0.97, `top-1 agreement is ${agreed / positions}`);
  assert.ok(error / errors < 0.05, `mean error of the chosen token's logprob is ${error / errors}`);
});
