import assert from "node:assert/strict";
import { loadModel } from "../../model/load.ts";
import { assertRefused, DENO_FOLDER, ScratchFolder } from "../model/files.ts";

const MODEL = "tests/data/smollm2-bf16";
const NAMES = [
  "config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "generation_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "model.safetensors",
  "model.safetensors.index.json",
];

function fifo(path: string): void {
  assert.ok(new Deno.Command("mkfifo", { args: [path] }).outputSync().success);
}

const NO_FILES: [what: string, put: (path: string) => void][] = [
  ["a pipe", fifo],
  ["a device without an end", (path) => Deno.symlinkSync("/dev/zero", path)],
  ["a folder", (path) => Deno.mkdirSync(path)],
];

for (const [what, put] of NO_FILES) {
  for (const name of NAMES) {
    Deno.test(`${name} that is ${what} is refused at once`, async () => {
      using folder = new ScratchFolder();
      for (const { name } of Deno.readDirSync(MODEL)) {
        Deno.symlinkSync(Deno.realPathSync(`${MODEL}/${name}`), `${folder.path}/${name}`);
      }
      const path = `${folder.path}/${name}`;
      await Deno.remove(path).catch(() => {});
      put(path);
      await assertRefused(() => loadModel(folder.path), /it is no file|is missing/);
    });
  }
  Deno.test(`a GGUF file that is ${what} is refused at once`, async () => {
    using folder = new ScratchFolder();
    const path = `${folder.path}/model.gguf`;
    put(path);
    await assertRefused(() => loadModel(path), /it is no file|config\.json is missing/);
  });
}

Deno.test("a server without HOME serves a model that is named, and says what another needs", async () => {
  const serve = async (...args: string[]) => {
    const unset = [
      "-u",
      "HOME",
      "-u",
      "XDG_CACHE_HOME",
      "-u",
      "HF_HOME",
      `DENO_DIR=${DENO_FOLDER}`,
    ];
    const deno = [Deno.execPath(), "run", "-A", "functions/serve.ts", "--port", "0"];
    const server = new Deno.Command("env", {
      args: [...unset, "NO_COLOR=1", ...deno, ...args],
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let out = "";
    for await (const text of server.stdout.pipeThrough(new TextDecoderStream())) {
      out += text;
      if (out.includes("ready after")) break;
    }
    if (out.includes("ready after")) server.kill("SIGTERM");
    const error = await new Response(server.stderr).text();
    return { out, error, code: (await server.status).code };
  };
  const named = await serve("--model", MODEL);
  assert.match(named.out, /ready after/);
  assert.deepEqual([named.error, named.code], ["", 0]);
  const other = await serve();
  assert.equal(other.code, 1);
  assert.match(other.error, /^✗ .*neither XDG_CACHE_HOME nor HOME is set\n$/);
});
