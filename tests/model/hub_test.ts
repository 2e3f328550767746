import assert from "node:assert/strict";
import { join } from "node:path";
import { fetchFromHub, type HubOptions, parseHubId } from "../../model/hub.ts";
import { loadModel } from "../../model/load.ts";
import { assertRefused, ScratchFolder } from "./files.ts";
import { HubServer } from "./hub_server.ts";
import { tinyGguf } from "./tiny_gguf.ts";
import { tinyConfig, tinyTokenizer, tinyWeights, writeSafetensors } from "./tiny_hf.ts";

const REPOSITORY: Readonly<Record<string, Uint8Array | string>> = {
  "README.md": "not needed",
  "config.json": JSON.stringify(tinyConfig),
  "tokenizer.json": JSON.stringify(tinyTokenizer()),
  "model.safetensors": writeSafetensors(tinyWeights()),
  "pytorch_model.bin": new Uint8Array(5000),
  "tiny.gguf": tinyGguf(),
  "onnx/model.onnx": new Uint8Array(5000),
};

/** Environment variables for the length of one test. */
class Environment implements Disposable {
  readonly #before = new Map<string, string | undefined>();

  constructor(values: Readonly<Record<string, string | undefined>>) {
    for (const [name, value] of Object.entries(values)) {
      this.#before.set(name, Deno.env.get(name));
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }

  [Symbol.dispose](): void {
    for (const [name, value] of this.#before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

/** A Hub of one repository and an empty cache. */
function hub(files = REPOSITORY) {
  const folder = new ScratchFolder();
  const server = new HubServer(files);
  const environment = new Environment({
    HF_ENDPOINT: server.url,
    HF_HOME: folder.path,
    HF_HUB_CACHE: undefined,
    HF_HUB_OFFLINE: undefined,
    HF_TOKEN: undefined,
    HF_TOKEN_PATH: undefined,
  });
  const store = join(folder.path, "hub", "models--org--name");
  return {
    folder,
    server,
    store,
    async [Symbol.asyncDispose]() {
      environment[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    },
  };
}

const quick: HubOptions = { retryDelaysMs: [1] };
const named = (text: string) => {
  const id = parseHubId(text);
  assert.ok(id);
  return id;
};

Deno.test("parseHubId() reads names, files and revisions", () => {
  assert.deepEqual(parseHubId("org/name"), { repo: "org/name", file: undefined, revision: "main" });
  const file = { repo: "org/name", file: "a/b.gguf", revision: "v1" };
  assert.deepEqual(parseHubId("org/name:a/b.gguf@v1"), file);
  assert.deepEqual(parseHubId("org/name/a/b.gguf@v1"), file);
  assert.deepEqual(parseHubId("Org.1/na-me_2@refs/pr/1"), {
    repo: "Org.1/na-me_2",
    file: undefined,
    revision: "refs/pr/1",
  });
  assert.equal(parseHubId("org/name:A.GGUF")?.file, "A.GGUF");
  for (
    const text of ["org/name@", "org/name:", "org/name:a", "org/name:a.gguf@v 1", "./name", "org/."]
      .concat("org/name:a/./b.gguf", "org/name:a//b.gguf", "org/name@../x", "/org/name", "org/")
  ) {
    assert.equal(parseHubId(text), undefined, text);
  }
  for (
    const text of ["name", "a/b/c", "../x", "org/..", "org/name:../../x.gguf", "org/na me", ""]
  ) {
    assert.equal(parseHubId(text), undefined, text);
  }
});

Deno.test("loadModel() of a Hub id fetches what the model needs, and no more", async () => {
  await using setup = hub();
  const progress: number[] = [];
  const model = await loadModel("org/name", {
    progress: ({ received, total }) => progress.push(received / total),
  });
  assert.equal(model.name, "org/name");
  assert.equal(model.tensors.length, 21);
  assert.deepEqual(setup.server.transfers, [
    "config.json whole",
    "tokenizer.json whole",
    "model.safetensors whole",
  ]);
  assert.equal(progress.at(-1), 1);
  assert.ok(progress.every((share, i) => i === 0 || share >= (progress[i - 1] as number)));

  // The layout of Hugging Face's own cache.
  const { store, server } = setup;
  assert.equal(Deno.readTextFileSync(join(store, "refs", "main")), server.commit);
  const link = Deno.readLinkSync(join(store, "snapshots", server.commit, "config.json"));
  assert.match(link, /^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);

  await loadModel("org/name");
  assert.equal(server.transfers.length, 3, "the second time nothing is fetched");
});

Deno.test("fetchFromHub() fetches each file that a model may be made of", async () => {
  const names = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    .concat("special_tokens_map.json", "chat_template.jinja", "vocab.json", "merges.txt")
    .concat("additional_chat_templates/tool_use.jinja")
    .concat("model.safetensors");
  await using setup = hub(Object.fromEntries(names.map((name) => [name, `of ${name}`])));
  const folder = await fetchFromHub(named("org/name"), quick);
  for (const name of names) {
    assert.equal(await Deno.readTextFile(join(folder, name)), `of ${name}`);
  }
  assert.equal(setup.server.transfers.length, names.length);
});

Deno.test("fetchFromHub() tells of all files together how much has come", async () => {
  const files = { "config.json": "x".repeat(10), "model.safetensors": "y".repeat(30) };
  await using _setup = hub(files);
  const told: [string, number, number][] = [];
  await fetchFromHub(named("org/name"), {
    ...quick,
    progress: ({ what, received, total }) => told.push([what, received, total]),
  });
  assert.deepEqual(told, [10, 10, 40, 40].map((received) => ["org/name", received, 40]));
});

Deno.test("fetchFromHub() takes shards with their index, and no other weights", async () => {
  const names = ["config.json", "model-00001-of-00002.safetensors"]
    .concat("model-00002-of-00002.safetensors", "model.safetensors.index.json");
  const others = ["model.safetensors.bak", "a/model.safetensors", "xmodel.safetensors"]
    .concat("model-1.safetensors", "consolidated.safetensors", "deep/config.json", "model.gguf");
  await using setup = hub(Object.fromEntries([...others, ...names].map((name) => [name, name])));
  await fetchFromHub(named("org/name"), quick);
  assert.deepEqual(setup.server.transfers, names.map((name) => `${name} whole`));
});

Deno.test("fetchFromHub() says what a repository without safetensors has", async () => {
  await using setup = hub({ "config.json": "{}" });
  await assertRefused(
    () => fetchFromHub(named("org/name"), quick),
    /^Cannot open model org\/name of the Hub: it has no safetensors$/,
  );
  await assertRefused(
    () => fetchFromHub(named("org/name:a.gguf"), quick),
    /^Cannot open model org\/name of the Hub: it has no file a.gguf; its GGUF files: none$/,
  );
  assert.deepEqual(setup.server.transfers, []);
});

Deno.test("loadModel() fetches one GGUF file of a repository", async () => {
  await using setup = hub();
  const model = await loadModel("org/name:tiny.gguf");
  assert.equal(model.name, "org/name:tiny.gguf");
  assert.deepEqual(setup.server.transfers, ["tiny.gguf whole"]);
});

Deno.test("fetchFromHub() goes on after a cut, in a later run too", async () => {
  await using setup = hub();
  const { server } = setup;
  server.mishaps.push({ cutAfter: 5000 }, { status: 500 }, { status: 500 });
  await assertRefused(() => fetchFromHub(named("org/name:tiny.gguf"), quick), /status 500/);
  await fetchFromHub(named("org/name:tiny.gguf"), quick);
  assert.match(server.transfers.at(-1) as string, /^tiny.gguf bytes=\d+-$/);
});

Deno.test("fetchFromHub() refuses bytes that are not those listed, LFS or git", async () => {
  await using setup = hub();
  const { server } = setup;
  server.mishaps.push({ wrongBytes: true });
  await assertRefused(
    () => fetchFromHub(named("org/name:tiny.gguf"), quick),
    /sha256 [0-9a-f]{64}/,
  );
  server.mishaps.push({ wrongBytes: true });
  await assertRefused(() => fetchFromHub(named("org/name"), quick), /git [0-9a-f]{40}/);
});

Deno.test("fetchFromHub() sends HF_TOKEN, or the token in HF_HOME, and says when it is denied", async () => {
  await using setup = hub();
  const { server, folder } = setup;
  server.token = "secret";
  const denied = /access is denied \(status 401\).*set HF_TOKEN/;
  await assertRefused(() => fetchFromHub(named("org/name"), quick), denied);
  {
    using _token = new Environment({ HF_TOKEN: "secret" });
    await fetchFromHub(named("org/name"), quick);
  }
  assert.ok(server.seen.slice(1).every(({ authorization }) => authorization === "Bearer secret"));
  folder.write("token", "secret\n");
  await fetchFromHub(named("org/name:tiny.gguf"), quick);
});

Deno.test("fetchFromHub() names what the Hub does not have", async () => {
  await using _setup = hub();
  await assertRefused(
    () => fetchFromHub(named("org/other"), quick),
    /Cannot open model org\/other of the Hub: there is no such model, revision or file/,
  );
  await assertRefused(
    () => fetchFromHub(named("org/name@v9"), quick),
    /Cannot open model org\/name@v9 of the Hub: there is no such/,
  );
  await assertRefused(
    () => fetchFromHub(named("org/name:none.gguf"), quick),
    /it has no file none.gguf; its GGUF files: tiny.gguf/,
  );
});

Deno.test("fetchFromHub() of a repository of GGUF files alone asks which", async () => {
  await using _setup = hub({ "a.gguf": "x", "b.gguf": "y" });
  await assertRefused(
    () => fetchFromHub(named("org/name"), quick),
    /has no safetensors; name one of its GGUF files, e.g. org\/name:a.gguf \(of a.gguf, b.gguf\)/,
  );
});

Deno.test("fetchFromHub() refuses a listing that points outside", async () => {
  await using setup = hub({ "../../../evil.gguf": "x" });
  await assertRefused(
    () => fetchFromHub({ ...named("org/name"), file: "../../../evil.gguf" }, quick),
    /it lists the file ..\/..\/..\/evil.gguf/,
  );
  assert.deepEqual(setup.server.transfers, []);
});

Deno.test("fetchFromHub() with HF_HUB_OFFLINE, or without a network, takes what the cache has", async () => {
  await using setup = hub();
  const { server, store } = setup;
  const folder = await fetchFromHub(named("org/name"), quick);
  assert.equal(folder, join(store, "snapshots", server.commit));
  const requests = server.seen.length;
  {
    using _offline = new Environment({ HF_HUB_OFFLINE: "1" });
    assert.equal(await fetchFromHub(named("org/name"), quick), folder);
    const missing = /HF_HUB_OFFLINE is set, and it is not in the cache/;
    await assertRefused(() => fetchFromHub(named("org/name:tiny.gguf"), quick), missing);
    await assertRefused(() => fetchFromHub(named("org/other"), quick), missing);
  }
  assert.equal(server.seen.length, requests);
  {
    using _unreachable = new Environment({ HF_ENDPOINT: "http://127.0.0.1:9" });
    assert.equal(await fetchFromHub(named("org/name"), quick), folder);
    await assertRefused(
      () => fetchFromHub(named("org/other"), quick),
      /the Hub cannot be reached \(.*\), and it is not in the cache/,
    );
  }
});

Deno.test("loadModel() says that a name is neither a file nor a Hub id", async () => {
  for (const source of ["nothing", "./org/name", "a/b/c", ""]) {
    if (source === "") continue;
    await assertRefused(() => loadModel(source), /no such file or folder, and it is no Hub id/);
  }
});
