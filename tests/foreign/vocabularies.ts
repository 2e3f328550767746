/**
 * Our token ids beside those that llama.cpp stores with its vocabulary files.
 *
 * @module
 */
import { Fields } from "../../model/fields.ts";
import { readGguf } from "../../model/gguf.ts";
import { ggufTokenizer } from "../../model/gguf_tokenizer.ts";
import { ModelError, type Tokenizer } from "../../model/spec.ts";
import { mustRun } from "../python_venv.ts";
import type { Outcome } from "./outcome.ts";

const REQUIREMENT = "llama-cpp-python==0.3.36";
const FOLDER = ".tools/vocabularies";
/** Between the texts of an `.inp` file, as llama.cpp's own test has it. */
const BETWEEN = "\n__ggml_vocab_test__\n";
/** More than any of them has ids. */
const MANY_ROWS = 1 << 20;
/** Those that are of a kind we serve: one of them that were refused would be a fault. */
const SERVED = ["gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"];

/** Takes the files out of a package by `python`, once, and counts vocabularies. */
export async function compareVocabularies(python: string): Promise<Outcome> {
  const wanted = ["models", ".gguf,.gguf.inp,.gguf.out", FOLDER];
  await mustRun(python, "tests/package_files.py", REQUIREMENT, "source", ...wanted);
  const names = [...Deno.readDirSync(FOLDER)].map(({ name }) => name)
    .filter((name) => name.endsWith(".gguf.out")).map((name) => name.slice(0, -".out".length));
  const outcome = { passed: 0, failed: 0, skipped: 0 };
  for (const name of names.toSorted()) outcome[compare(name)]++;
  return outcome;
}

function compare(name: string): keyof Outcome {
  const path = `${FOLDER}/${name}`;
  const isServed = SERVED.some((served) => name === `ggml-vocab-${served}.gguf`);
  const tokenizer = open(path);
  if (typeof tokenizer === "string") {
    console.log(`${name}: refused: ${tokenizer}`);
    return isServed ? "failed" : "skipped";
  }
  const texts = Deno.readTextFileSync(`${path}.inp`).split(BETWEEN);
  const lines = Deno.readTextFileSync(`${path}.out`).split("\n");
  const differing = texts.filter((text, i) =>
    tokenizer.encode(text, { addSpecialTokens: false }).join(" ") !== lines[i]?.trim()
  );
  console.log(`${name}: ${texts.length} texts, ${differing.length} differ`);
  for (const text of differing.slice(0, 5)) console.log(`  ${JSON.stringify(text)}`);
  return differing.length === 0 ? "passed" : "failed";
}

/** The tokenizer of a file that has nothing else, or why there is none. */
function open(path: string): Tokenizer | string {
  try {
    const { metadata } = readGguf(path);
    return ggufTokenizer(new Fields(path, "metadata key", metadata), MANY_ROWS).tokenizer;
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    return error.message;
  }
}
