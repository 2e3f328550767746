/**
 * The default model against Transformers on the same file, dequantized to fp32
 * (tests/data/smollm2-greedy.json: 20 prompts, greedy tokens, margins, log probabilities).
 *
 * @module
 */
import assert from "node:assert/strict";
import { renderConversation } from "../../engine/conversation/render.ts";
import { Engine } from "../../engine/engine.ts";
import type { Message } from "../../engine/types.ts";
import { defaultModelPath } from "../../model/default_model.ts";
import { testOnCuda } from "../test_device.ts";

interface GoldenRow {
  readonly name: string;
  readonly messages?: readonly Message[];
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
  await using engine = await Engine.open(await defaultModelPath(), { device: "cpu" });
  for (const row of golden.rows) {
    if (row.messages !== undefined) {
      const { text } = renderConversation({ messages: row.messages }, engine.model);
      assert.equal(text, row.rendered, row.name);
    }
    assert.deepEqual(await engine.tokenize(row.rendered), row.prompt_token_ids, row.name);
  }
});

const repeats = "The default model with fp32 activations repeats the golden greedy tokens";
Deno.test(repeats, () => repeatGolden("cpu"));
testOnCuda(repeats, () => repeatGolden("cuda"));

async function repeatGolden(device: "cpu" | "cuda"): Promise<void> {
  await using engine = await Engine.open(await defaultModelPath(), {
    device,
    activationDtype: "fp32",
  });
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
}

Deno.test("The default model with int8 activations agrees with the golden", () =>
  agreeWithGolden("cpu", { activationDtype: "int8", agreement: 0.97, meanError: 0.05 }));

// fp16 rounds 25 times finer than int8; what is left are close calls.
testOnCuda(
  "The default model on tensor cores agrees with the golden",
  () => agreeWithGolden("cuda", { activationDtype: "fp16", agreement: 0.985, meanError: 0.01 }),
);

/** Text that is given token by token: how often the best token is the golden's. */
async function agreeWithGolden(
  device: "cpu" | "cuda",
  least: {
    readonly activationDtype: "int8" | "fp16";
    readonly agreement: number;
    readonly meanError: number;
  },
): Promise<void> {
  await using engine = await Engine.open(await defaultModelPath(), { device });
  assert.equal(engine.stats().activationDtype, least.activationDtype);
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
  assert.ok(agreed / positions >= least.agreement, `top-1 agreement is ${agreed / positions}`);
  assert.ok(
    error / errors < least.meanError,
    `mean error of the chosen token's logprob is ${error / errors}`,
  );
}
