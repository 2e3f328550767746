/**
 * How the Hugging Face Hub is reached: `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`,
 * `HF_HUB_OFFLINE`.
 *
 * @module
 */
import { join } from "node:path";
import { hubHome } from "./cache_folders.ts";
import { readTextFile } from "./json_file.ts";

/** Address of the Hub or of the mirror that the user named. */
export async function hubEndpoint(): Promise<string> {
  const named = Deno.env.get("HF_ENDPOINT");
  // Only then: the library takes time to load, and a start with a local model needs none of it.
  const address = named || (await import("@huggingface/hub")).HUB_URL;
  return address.replace(/\/+$/, "");
}

/** Address of a file of the Hub. */
export async function hubFileUrl(repo: string, revision: string, file: string): Promise<string> {
  const path = file.split("/").map(encodeURIComponent).join("/");
  return `${await hubEndpoint()}/${repo}/resolve/${encodeURIComponent(revision)}/${path}`;
}

/** Headers of every request: who asks, and the user's token where there is one. */
export function hubHeaders(): Record<string, string> {
  const token = Deno.env.get("HF_TOKEN") ||
    readTextFile(Deno.env.get("HF_TOKEN_PATH") || join(hubHome(), "token"), 4096)?.trim();
  return { "user-agent": "hearth", ...(token ? { authorization: `Bearer ${token}` } : {}) };
}

/** True when the user forbids network use. */
export function isOffline(): boolean {
  return ["1", "true", "yes", "on"].includes((Deno.env.get("HF_HUB_OFFLINE") ?? "").toLowerCase());
}
