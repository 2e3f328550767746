/**
 * From what a user names (a file, a folder, a Hub id) to a model.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { openGguf } from "./gguf_model.ts";
import { openHfFolder } from "./hf_folder.ts";
import { type Model, ModelError } from "./spec.ts";

/**
 * Read a model, all but its weights.
 *
 * @param source a `.gguf` file, a Hugging Face folder, or a folder that holds one `.gguf` file
 * @throws {ModelError} when it is missing, damaged or not supported
 */
export async function loadModel(source: string): Promise<Model> {
  const path = resolve(source);
  const info = await Deno.stat(path).catch(() => undefined);
  if (!info) throw new ModelError(`Cannot open model ${source}: there is no such file or folder`);
  try {
    return info.isDirectory ? openFolder(path) : openGguf(path);
  } catch (error) {
    if (error instanceof ModelError) throw error;
    if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotFound) {
      throw new ModelError(`Cannot open model ${source}: ${error.message}`);
    }
    throw error;
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
