/**
 * The tiny checkpoints of tests/data, by name.
 *
 * @module
 */
const DATA = new URL("../data/", import.meta.url);

/** Every folder with goldens, in the order of names. */
export const checkpointNames: readonly string[] = [...Deno.readDirSync(DATA)]
  .filter((entry) => entry.isDirectory && !entry.name.startsWith("__"))
  .map((entry) => entry.name)
  .sort();

/** The folder of a checkpoint, which `loadModel` and `Engine.open` take. */
export function checkpointPath(name: string): string {
  return new URL(name, DATA).pathname;
}

/** One of a checkpoint's golden files, as tests/data/README.md describes them. */
export function readGolden<Golden>(name: string, file: string): Golden {
  return JSON.parse(Deno.readTextFileSync(`${checkpointPath(name)}/${file}`));
}
