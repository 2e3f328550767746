/**
 * A model of a `config.json` alone: its weights are made up by the library (`loadFormat: "dummy"`), so
 * that speed can be measured without them.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { existsSync } from "node:fs";
import type { Fields } from "./fields.ts";
import { fingerprint } from "./fingerprint.ts";
import { eosTokenIds, readConfig } from "./hf_folder.ts";
import { readHfConfig } from "./hf_config.ts";
import { readHfTokenizer } from "./hf_tokenizer.ts";
import { type DType, type Model, ModelError, type ModelSpec, type Tokenizer } from "./spec.ts";
import { type NamedTensor, roleShape, tensorPlaces, tensorTable } from "./tensor_table.ts";

/** Types of weights as `config.json` names them, with the bytes of an element. */
const TYPES: Readonly<Record<string, readonly [DType, number]>> = {
  float32: ["F32", 4],
  float16: ["F16", 2],
  bfloat16: ["BF16", 2],
};

/**
 * Read a `config.json`, and the tokenizer beside it where there is one.
 *
 * @param path absolute, of the file or of its folder
 * @throws {ModelError}
 */
export function openDummyModel(path: string): Model {
  const file = Deno.statSync(path).isDirectory ? join(path, "config.json") : path;
  if (!file.endsWith(".json")) {
    throw new ModelError(
      `Cannot open model ${path}: a dummy one needs a config.json, or a folder that has one`,
    );
  }
  const folder = dirname(file);
  const { values, config } = readConfig(folder, file);
  const { architecture, spec: unnamed, tensorNames, prefixes } = readHfConfig(config);
  const spec: ModelSpec = {
    ...unnamed,
    fingerprint: fingerprint([file], [Deno.readFileSync(file)]),
  };
  const names = tensorNames(prefixes[0] ?? "", spec.tiedEmbeddings);
  const [type, elementBytes] = weightType(config);
  const tensors = [...tensorPlaces(names.required, spec.numLayers)].map(
    ([name, { role }]): NamedTensor => {
      const shape = roleShape(role, spec);
      const bytes = shape.reduce((product, size) => product * size, elementBytes);
      return { name, type, shape, file: 0, offset: 0, bytes };
    },
  );
  const hasTokenizer = ["tokenizer.json", "vocab.json"].some((name) =>
    existsSync(join(folder, name))
  );
  const { tokenizer, chatTemplate } = hasTokenizer
    ? readHfTokenizer(folder, spec.vocabSize)
    : { tokenizer: new ByteTokenizer(spec.vocabSize), chatTemplate: undefined };
  return {
    name: file.endsWith("/config.json") ? basename(folder) : basename(file, ".json"),
    architecture,
    spec,
    tensors: tensorTable(file, spec, names, tensors),
    files: [file],
    tokenizer,
    chatTemplate,
    eosTokenIds: eosTokenIds(folder, values, tokenizer),
    samplingDefaults: {},
  };
}

/** Transformers 5 writes `dtype`, before it was `torch_dtype`. */
function weightType(config: Fields): readonly [DType, number] {
  const name = config.string("dtype", config.string("torch_dtype", "float16"));
  return (Object.hasOwn(TYPES, name) ? TYPES[name] : undefined) ?? config.fail(
    `weights of ${name} are not supported; supported: ${Object.keys(TYPES).join(", ")}`,
  );
}

const BYTES = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));

/** A token is a byte of text, or, beyond 256, some printable character: every output has text. */
class ByteTokenizer implements Tokenizer {
  readonly bosToken = undefined;
  readonly eosToken = undefined;

  constructor(readonly vocabSize: number) {}

  encode(text: string): number[] {
    return Array.from(new TextEncoder().encode(text), (byte) => byte % this.vocabSize);
  }

  decode(tokens: readonly number[]): string {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(tokens, byteOf));
  }

  tokenText(token: number): string | undefined {
    return token < this.vocabSize ? String.fromCharCode(byteOf(token)) : undefined;
  }

  tokenBytes(token: number): Uint8Array {
    return BYTES[byteOf(token)]!;
  }

  isSpecial(): boolean {
    return false;
  }
}

function byteOf(token: number): number {
  return token < 256 ? token : 32 + token % 95;
}
