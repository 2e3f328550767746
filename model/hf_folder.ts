/**
 * A Hugging Face folder as a model: config.json, safetensors (one file or shards), tokenizer.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { basename, join } from "node:path";
import { Fields } from "./fields.ts";
import { fingerprint } from "./fingerprint.ts";
import { readHfConfig } from "./hf_config.ts";
import { readHfTokenizer } from "./hf_tokenizer.ts";
import { readJsonObject } from "./json_file.ts";
import { readSafetensors } from "./safetensors.ts";
import { samplingDefaults } from "./sampling_defaults.ts";
import { type Model, ModelError, type ModelSpec, type Tokenizer } from "./spec.ts";
import { type NamedTensor, type TensorNames, tensorTable } from "./tensor_table.ts";

const MAX_CONFIG_BYTES = 1 << 24;
const MAX_INDEX_BYTES = 1 << 26;
const COMPARED_BYTES = 1 << 20;

/**
 * Open a Hugging Face folder.
 *
 * @param folder absolute path
 * @throws {ModelError}
 */
export function openHfFolder(folder: string): Model {
  const { values, config } = readConfig(folder, join(folder, "config.json"));
  const { architecture, spec: unnamed, tensorNames, prefixes } = readHfConfig(config);

  const files = weightFiles(folder);
  const headers = files.map((file, index) => readSafetensors(file, index));
  const tensors = headers.flatMap((header) => header.tensors);
  const prefix = prefixes.find((start) => tensors.some(({ name }) => name.startsWith(start))) ?? "";
  const spec: ModelSpec = {
    ...unnamed,
    tiedEmbeddings: unnamed.tiedEmbeddings &&
      !hasOwnHead(files, tensors, tensorNames(prefix, false)),
    fingerprint: fingerprint(files, headers.map((header) => header.headerBytes)),
  };
  const { tokenizer, ...templates } = readHfTokenizer(folder, spec.vocabSize);
  return {
    name: basename(folder),
    architecture,
    spec,
    tensors: tensorTable(folder, spec, tensorNames(prefix, spec.tiedEmbeddings), tensors),
    files,
    tokenizer,
    ...templates,
    eosTokenIds: eosTokenIds(folder, values, tokenizer),
    samplingDefaults: samplingDefaults(generationConfig(folder)),
  };
}

/**
 * Whether the files hold an lm_head that differs from the embedding. Fine-tunes are saved with both and
 * `tie_word_embeddings: true`; as Transformers 5 and vLLM do, a head that was trained is used, and one
 * that is the same is not kept twice.
 */
function hasOwnHead(
  files: readonly string[],
  tensors: readonly NamedTensor[],
  { required }: TensorNames,
): boolean {
  const head = tensors.find(({ name }) => name === required.lm_head);
  const embedding = tensors.find(({ name }) => name === required.token_embedding);
  if (!head || !embedding) return false;
  return head.type !== embedding.type || head.bytes !== embedding.bytes ||
    !sameBytes(files, head, embedding);
}

function sameBytes(files: readonly string[], a: NamedTensor, b: NamedTensor): boolean {
  using fileA = Deno.openSync(files[a.file]!);
  using fileB = Deno.openSync(files[b.file]!);
  const [chunkA, chunkB] = [Buffer.alloc(COMPARED_BYTES), Buffer.alloc(COMPARED_BYTES)];
  for (let done = 0; done < a.bytes; done += COMPARED_BYTES) {
    const length = Math.min(COMPARED_BYTES, a.bytes - done);
    readAt(fileA, chunkA.subarray(0, length), a.offset + done);
    readAt(fileB, chunkB.subarray(0, length), b.offset + done);
    if (!chunkA.subarray(0, length).equals(chunkB.subarray(0, length))) return false;
  }
  return true;
}

/** Fills `bytes`; the files have been found to be long enough. */
function readAt(file: Deno.FsFile, bytes: Uint8Array, offset: number): void {
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let filled = 0; filled < bytes.length;) {
    filled += file.readSync(bytes.subarray(filled)) ?? bytes.length;
  }
}

/** A `config.json`, as it stands and as fields of the model in `folder`. */
export function readConfig(folder: string, file: string) {
  const values = readJsonObject(file, MAX_CONFIG_BYTES);
  if (!values) throw new ModelError(`Cannot open model ${folder}: config.json is missing`);
  const config = new Fields(folder, "config.json:", new Map(Object.entries(values)));
  return { values, config };
}

/** The one file, or the shards that the index names. */
function weightFiles(folder: string): string[] {
  const single = join(folder, "model.safetensors");
  const index = readJsonObject(join(folder, "model.safetensors.index.json"), MAX_INDEX_BYTES);
  if (!index) {
    if (isFile(single)) return [single];
    throw new ModelError(
      `Cannot open model ${folder}: model.safetensors is missing (only safetensors are read: ` +
        "pytorch_model.bin can run code)",
    );
  }
  const map = index["weight_map"];
  const names = new Set(typeof map === "object" && map !== null ? Object.values(map) : []);
  if (names.size === 0) {
    throw new ModelError(
      `Cannot open model ${folder}: model.safetensors.index.json must hold a weight_map`,
    );
  }
  return [...names].sort().map((name) => {
    if (typeof name !== "string" || !/^[\w.-]+\.safetensors$/.test(name)) {
      throw new ModelError(
        `Cannot open model ${folder}: model.safetensors.index.json names ` +
          `${JSON.stringify(name).slice(0, 80)}, which is no safetensors file of this folder`,
      );
    }
    const path = join(folder, name);
    if (!isFile(path)) throw new ModelError(`Cannot open model ${folder}: ${name} is missing`);
    return path;
  });
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function generationConfig(folder: string): Record<string, unknown> {
  return readJsonObject(join(folder, "generation_config.json"), MAX_CONFIG_BYTES) ?? {};
}

/** What generation_config.json says, else config.json; and the tokenizer's own EOS. */
export function eosTokenIds(
  folder: string,
  config: Record<string, unknown>,
  tokenizer: Tokenizer,
): number[] {
  const generation = generationConfig(folder);
  const ids: unknown[] = [generation["eos_token_id"] ?? config["eos_token_id"] ?? []].flat();
  if (tokenizer.eosToken !== undefined) {
    const own = tokenizer.encode(tokenizer.eosToken, { addSpecialTokens: false });
    // A text that the vocabulary does not have is cut into pieces, of which none ends a text.
    if (own.length === 1 && tokenizer.tokenText(own[0]!) === tokenizer.eosToken) ids.push(own[0]);
  }
  return [...new Set(ids)].filter((id) => Number.isInteger(id)) as number[];
}
