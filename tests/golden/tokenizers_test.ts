/**
 * Tokenizers and chat templates of the tiny checkpoints against `tokenizers`, `sentencepiece` and
 * Transformers (tests/data/README.md says how the expected ids were made).
 *
 * @module
 */
import assert from "node:assert/strict";
import { loadModel } from "../../model/load.ts";
import { renderConversation } from "../../engine/conversation/render.ts";
import type { Message } from "../../engine/types.ts";
import { digest, TEXTS, textsFor } from "../foreign/texts.ts";
import { checkpointNames, checkpointPath, readGolden } from "./checkpoints.ts";
import tokensOfTexts from "./tokens_of_texts.json" with { type: "json" };

interface TokenizerGolden {
  /** What adding special tokens puts in front. */
  readonly bos: readonly number[];
  readonly cases: readonly {
    readonly text: string;
    readonly tokens: readonly number[];
    /** Absent where decoding gives the text back. */
    readonly decoded?: string;
  }[];
  readonly chats: readonly {
    readonly messages: readonly Message[];
    readonly rendered: string;
    readonly tokens: readonly number[];
  }[];
}

for (const name of checkpointNames) {
  Deno.test(`Tokenizer of ${name} gives the golden ids and texts`, async () => {
    const { tokenizer } = await loadModel(checkpointPath(name));
    const golden = readGolden<TokenizerGolden>(name, "tokenizer_golden.json");
    assert.ok(golden.cases.length > 40);
    for (const { text, tokens, decoded } of golden.cases) {
      const shown = JSON.stringify(text);
      assert.deepEqual(tokenizer.encode(text, { addSpecialTokens: false }), tokens, shown);
      // Where `tokenizers` would put a second BOS in front of a text that begins with one, we do not.
      const bos = tokens[0] === golden.bos[0] ? [] : golden.bos;
      assert.deepEqual(tokenizer.encode(text), [...bos, ...tokens], `${shown} with BOS`);
      const back = tokenizer.decode(tokens, { skipSpecialTokens: false });
      assert.equal(back, decoded ?? text, shown);
    }
  });

  Deno.test(`Chat template of ${name} renders the golden prompts`, async () => {
    const model = await loadModel(checkpointPath(name));
    const { chats } = readGolden<TokenizerGolden>(name, "tokenizer_golden.json");
    assert.equal(model.chatTemplate === undefined, chats.length === 0);
    for (const { messages, rendered, tokens } of chats) {
      assert.equal(renderConversation({ messages }, model).text, rendered);
      assert.deepEqual(
        model.tokenizer.encode(rendered, { addSpecialTokens: false }),
        tokens,
        rendered,
      );
    }
  });
}

for (const [name, expected] of Object.entries(tokensOfTexts)) {
  Deno.test(`Tokenizer of ${name} gives the ids of many texts that tokenizers gives`, async () => {
    const folder = checkpointPath(name);
    const { tokenizer } = await loadModel(folder);
    const file = JSON.parse(await Deno.readTextFile(`${folder}/tokenizer.json`));
    const own = file.added_tokens.map(({ content }: { content: string }) => content);
    const ids = textsFor(own, TEXTS).map((text) =>
      tokenizer.encode(text, { addSpecialTokens: false })
    );
    // `deno task foreign:tokenizers` tells which texts differ.
    assert.equal(await digest(ids), expected);
  });
}
