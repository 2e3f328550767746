/**
 * Models from the Hugging Face Hub, kept in the Hub's own cache layout.
 *
 *     models--ORG--NAME/refs/REVISION            the commit it meant when last asked
 *                      /snapshots/COMMIT/FILE    link to the blob
 *                      /blobs/DIGEST             the bytes
 *
 * `@huggingface/hub` lists the files; the transfer is ours (download.ts), since the library neither
 * resumes nor checks nor reports. `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE` and
 * `HF_HUB_OFFLINE` mean what they mean to Hugging Face's tools.
 *
 * @module
 */
import { HubApiError, listFiles, modelInfo } from "@huggingface/hub";
import { dirname, join, relative } from "node:path";
import { hubCacheFolder } from "./cache_folders.ts";
import { type Digest, download, refusal } from "./download.ts";
import { hubEndpoint, hubFileUrl, hubHeaders, isOffline } from "./hub_access.ts";
import { readTextFile } from "./json_file.ts";
import type { OnProgress } from "./progress.ts";
import { ModelError } from "./spec.ts";

/** What a user named on the Hub. */
export interface HubId {
  /** `org/name`. */
  readonly repo: string;
  /** A `.gguf` file of the repository; undefined takes the safetensors model. */
  readonly file: string | undefined;
  /** Branch, tag or commit. */
  readonly revision: string;
}

/** Options of {@linkcode fetchFromHub}. */
export interface HubOptions {
  readonly progress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly retryDelaysMs?: readonly number[] | undefined;
}

const MAX_LISTED_FILES = 10_000;
const API_TIMEOUT_MS = 10_000;

/** The files of a repository that make up a model, weights apart. */
const MODEL_FILES = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "additional_chat_templates/tool_use.jinja",
  "vocab.json",
  "merges.txt",
]);

/** `org/name`, `org/name:file.gguf` or `org/name/file.gguf`, each with an optional `@revision`. */
export function parseHubId(text: string): HubId | undefined {
  const match = /^([\w.-]+\/[\w.-]+)(?:[:/]([\w./-]+\.gguf))?(?:@([\w./-]+))?$/i.exec(text);
  const [, repo, file, revision = "main"] = match ?? [];
  if (repo === undefined || text.split(/[/:@]/).some((part) => /^\.*$/.test(part))) {
    return undefined;
  }
  return { repo, file, revision };
}

/**
 * Make sure that a model of the Hub is in the cache.
 *
 * @returns path of its folder, or of its GGUF file
 * @throws {ModelError} when it does not exist, access is denied, or the Hub cannot be reached and
 * the cache does not hold it
 */
export async function fetchFromHub(id: HubId, options: HubOptions = {}): Promise<string> {
  const store = join(hubCacheFolder(), `models--${id.repo.replaceAll("/", "--")}`);
  if (isOffline()) return cached(store, id, "HF_HUB_OFFLINE is set");
  let listing: Listing;
  try {
    listing = await list(id, options.signal);
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof ModelError) throw error;
    return cached(store, id, `the Hub cannot be reached (${(error as Error).message})`);
  }
  const snapshot = join(store, "snapshots", listing.commit);
  const wanted = chooseFiles(id, listing.files);
  const total = wanted.reduce((sum, file) => sum + file.bytes, 0);
  let before = 0;
  for (const file of wanted) {
    await fetchFile(store, snapshot, id, listing.commit, file, {
      ...options,
      progress: ({ received }) =>
        options.progress?.({ what: id.repo, received: before + received, total }),
    });
    before += file.bytes;
    options.progress?.({ what: id.repo, received: before, total });
  }
  const ref = join(store, "refs", id.revision);
  await Deno.mkdir(dirname(ref), { recursive: true });
  await Deno.writeTextFile(ref, listing.commit);
  return id.file === undefined ? snapshot : join(snapshot, id.file);
}

interface HubFile {
  readonly path: string;
  readonly bytes: number;
  readonly digest: Digest;
}

interface Listing {
  readonly commit: string;
  readonly files: readonly HubFile[];
}

/** Commit of the revision and the files in it. Errors other than ModelError mean "not reached". */
async function list(id: HubId, signal: AbortSignal | undefined): Promise<Listing> {
  const common = { hubUrl: await hubEndpoint(), revision: id.revision, fetch: hubFetch(signal) };
  const files: HubFile[] = [];
  try {
    const info = await modelInfo({ name: id.repo, additionalFields: ["sha"], ...common });
    if (!/^[0-9a-f]{40}$/.test(info.sha)) throw new Error("the answer names no commit");
    for await (
      const entry of listFiles({ repo: id.repo, recursive: true, ...common, revision: info.sha })
    ) {
      if (entry.type !== "file" || entry.oid === undefined) continue;
      if (files.length >= MAX_LISTED_FILES) throw new ModelError(`${id.repo} lists too many files`);
      files.push({
        path: entry.path,
        bytes: entry.lfs?.size ?? entry.size,
        digest: entry.lfs
          ? { kind: "sha256", hex: checkDigest(entry.lfs.oid) }
          : { kind: "git", hex: checkDigest(entry.oid) },
      });
    }
    return { commit: info.sha, files };
  } catch (error) {
    if (error instanceof HubApiError && error.statusCode < 500 && error.statusCode !== 429) {
      const name = id.revision === "main" ? id.repo : `${id.repo}@${id.revision}`;
      throw new ModelError(`Cannot open model ${name} of the Hub: ${refusal(error.statusCode)}`);
    }
    throw error;
  }
}

/** Digests become file names. */
function checkDigest(hex: string): string {
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hex)) throw new Error("the answer has a bad digest");
  return hex;
}

function hubFetch(signal: AbortSignal | undefined): typeof fetch {
  return (input, init) => {
    const timeout = AbortSignal.timeout(API_TIMEOUT_MS);
    return fetch(input, {
      ...init,
      headers: { ...(init?.headers as Record<string, string> | undefined), ...hubHeaders() },
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  };
}

/** The GGUF file that was named, or configuration, tokenizer and safetensors. */
function chooseFiles(id: HubId, files: readonly HubFile[]): HubFile[] {
  const ggufs = files.filter(({ path }) => path.toLowerCase().endsWith(".gguf"));
  if (id.file !== undefined) {
    const named = files.find(({ path }) => path === id.file);
    if (named) return [named];
    const choice = ggufs.map(({ path }) => path).join(", ") || "none";
    throw new ModelError(
      `Cannot open model ${id.repo} of the Hub: it has no file ${id.file}; its GGUF files: ${choice}`,
    );
  }
  const weights = files.filter(({ path }) =>
    /^model(-\d+-of-\d+)?\.safetensors(\.index\.json)?$/.test(path)
  );
  if (weights.length > 0) {
    return [...files.filter(({ path }) => MODEL_FILES.has(path)), ...weights];
  }
  throw new ModelError(
    `Cannot open model ${id.repo} of the Hub: it has no safetensors` +
      (ggufs.length === 0
        ? ""
        : `; name one of its GGUF files, e.g. ${id.repo}:${(ggufs[0] as HubFile).path} (of ` +
          `${ggufs.map(({ path }) => path).join(", ")})`),
  );
}

/** One blob and its link. */
async function fetchFile(
  store: string,
  snapshot: string,
  id: HubId,
  commit: string,
  file: HubFile,
  options: HubOptions,
): Promise<void> {
  const link = join(snapshot, file.path);
  if (relative(snapshot, link).startsWith("..")) {
    throw new ModelError(`Cannot open model ${id.repo} of the Hub: it lists the file ${file.path}`);
  }
  const blob = join(store, "blobs", file.digest.hex);
  await download({
    url: await hubFileUrl(id.repo, commit, file.path),
    headers: hubHeaders(),
    target: blob,
    bytes: file.bytes,
    digest: file.digest,
    signal: options.signal,
    progress: (received) => options.progress?.({ what: file.path, received, total: file.bytes }),
    ...(options.retryDelaysMs ? { retryDelaysMs: options.retryDelaysMs } : {}),
  });
  await Deno.mkdir(dirname(link), { recursive: true });
  try {
    await Deno.symlink(relative(dirname(link), blob), link);
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
}

/** What an earlier run left: the snapshot that the revision meant then. */
function cached(store: string, id: HubId, why: string): string {
  const commit = readTextFile(join(store, "refs", id.revision), 4096)?.trim() ?? id.revision;
  const path = join(store, "snapshots", commit, id.file ?? "config.json");
  try {
    Deno.statSync(path);
  } catch {
    throw new ModelError(
      `Cannot open model ${id.repo} of the Hub: ${why}, and it is not in the cache (${store})`,
    );
  }
  return id.file === undefined ? dirname(path) : path;
}
