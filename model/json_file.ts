/**
 * Reading the JSON files of a model folder.
 *
 * @module
 */
import { ModelError } from "./spec.ts";

/**
 * The object in a JSON file, or undefined where there is no such file.
 *
 * @param maxBytes larger files are refused unread
 * @throws {ModelError} when it is too large, unreadable or holds no object
 */
export function readJsonObject(
  path: string,
  maxBytes: number,
): Record<string, unknown> | undefined {
  const text = readTextFile(path, maxBytes);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ModelError(`Cannot read ${path}: it is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ModelError(`Cannot read ${path}: it must hold an object`);
  }
  return value as Record<string, unknown>;
}

/** The text of a file, or undefined where there is no such file. */
export function readTextFile(path: string, maxBytes: number): string | undefined {
  try {
    const { size, isFile } = Deno.statSync(path);
    // A pipe or a device may never end, whatever size it tells.
    if (!isFile) throw new ModelError(`Cannot read ${path}: it is no file`);
    if (size > maxBytes) {
      throw new ModelError(
        `Cannot read ${path}: it must have at most ${maxBytes} bytes: it has ${size}`,
      );
    }
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof ModelError) throw error;
    throw new ModelError(`Cannot read ${path}: ${(error as Error).message}`);
  }
}
