/**
 * From what a user names (a file, a folder, a Hub id) to a model.
 *
 * @module
 */
import { join, resolve } from "node:path";
import type { EngineOptions } from "../ffi/types.ts";
import { openGguf } from "./gguf_model.ts";
import { openHfFolder } from "./hf_folder.ts";
import type { OnProgress } from "./progress.ts";
import { type Model, ModelError, type Tokenizer } from "./spec.ts";

/** Options of {@linkcode loadModel}. */
export interface LoadOptions {
  /** Called while a model of the Hub is fetched. */
  readonly progress?: OnProgress;
  /** Ends a fetch; what came stays for the next one. */
  readonly signal?: AbortSignal;
  /** dummy: `source` is a `config.json` or its folder; weights are made up, for benchmarks. [auto] */
  readonly loadFormat?: NonNullable<EngineOptions["loadFormat"]>;
}

/**
 * Read a model, all but its weights.
 *
 * @param source a `.gguf` file, a Hugging Face folder, a folder that holds one `.gguf` file, or a
 * Hub id: `org/name`, for one file of it `org/name:file.gguf`, with `@revision` behind either
 * @throws {ModelError} when it is missing, damaged or not supported
 */
export async function loadModel(source: string, options: LoadOptions = {}): Promise<Model> {
  const path = resolve(source);
  if (options.loadFormat === "dummy") return openDummy(path);
  if (await exists(path)) return openPath(path, undefined);
  // Only then: the Hub's library takes time to load.
  const { fetchFromHub, parseHubId } = await import("./hub.ts");
  const id = /^[./~]|[\\]/.test(source) ? undefined : parseHubId(source);
  if (!id) {
    throw new ModelError(
      `Cannot open model ${source}: there is no such file or folder, and it is no Hub id (org/name)`,
    );
  }
  return openPath(await fetchFromHub(id, options), source);
}

const sources = new WeakMap<Tokenizer, string>();

/**
 * The file or folder that `loadModel` made a tokenizer from, so that a worker can make the same.
 */
export function tokenizerSource(tokenizer: Tokenizer): string | undefined {
  return sources.get(tokenizer);
}

/** @param name what to call the model; by default its file or folder */
function openPath(path: string, name: string | undefined): Model {
  const model = orModelError(path, () => openKind(path));
  sources.set(model.tokenizer, path);
  return name === undefined ? model : { ...model, name };
}

/** A worker would look for weights: its tokenizer has no source. */
async function openDummy(path: string): Promise<Model> {
  const { openDummyModel } = await import("./dummy_model.ts");
  return orModelError(path, () => openDummyModel(path));
}

/** @throws {ModelError} for what a file can be at fault for */
function orModelError(path: string, open: () => Model): Model {
  try {
    return open();
  } catch (error) {
    const foreseen = [
      Deno.errors.PermissionDenied,
      Deno.errors.NotFound,
      RangeError, // JSON nested deeper than the stack
    ];
    if (!foreseen.some((kind) => error instanceof kind)) throw error;
    throw new ModelError(`Cannot open model ${path}: ${(error as Error).message}`);
  }
}

function openKind(path: string): Model {
  const info = Deno.statSync(path);
  if (info.isDirectory) return openFolder(path);
  if (!info.isFile) throw new ModelError(`Cannot open model ${path}: it is no file and no folder`);
  if (path.endsWith(".safetensors")) {
    throw new ModelError(
      `Cannot open model ${path}: name its folder, which has the config.json too`,
    );
  }
  return openGguf(path);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new ModelError(`Cannot open model ${path}: ${(error as Error).message}`);
  }
}

function openFolder(folder: string): Model {
  const names = [...Deno.readDirSync(folder)].map((entry) => entry.name);
  const ggufs = names.filter((name) => name.toLowerCase().endsWith(".gguf")).sort();
  if (names.includes("config.json") || ggufs.length === 0) return openHfFolder(folder);
  if (ggufs.length > 1) {
    throw new ModelError(
      `Cannot open model ${folder}: it holds ${ggufs.length} GGUF files; name one of them: ` +
        ggufs.join(", "),
    );
  }
  return openGguf(join(folder, ggufs[0] as string));
}
