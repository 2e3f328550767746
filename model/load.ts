/**
 * From what a user names (a file, a folder, a Hub id) to a model.
 *
 * @module
 */
import { resolve } from "node:path";
import { openGguf } from "./gguf_model.ts";
import { type Model, ModelError } from "./spec.ts";

/**
 * Read a model, all but its weights.
 *
 * @param source a `.gguf` file
 * @throws {ModelError} when it is missing, damaged or not supported
 */
export async function loadModel(source: string): Promise<Model> {
  const path = resolve(source);
  const info = await Deno.stat(path).catch(() => undefined);
  if (!info) throw new ModelError(`Cannot open model ${source}: there is no such file or folder`);
  return openGguf(path);
}
