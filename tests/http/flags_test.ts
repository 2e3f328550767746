import assert from "node:assert/strict";
import { EngineError } from "../../engine/types.ts";
import { reasonOf } from "../../functions/server/startup_report.ts";
import { FlagError } from "../../functions/server/flags.ts";
import { hostsOf } from "../../functions/server/allowed_hosts.ts";
import { readSettings, settingsHelp } from "../../functions/server/settings.ts";

const read = (args: string[], variables: Record<string, string> = {}) =>
  readSettings(args, (name) => variables[name]);

Deno.test("readSettings has defaults", () => {
  const settings = read([]);
  assert.deepEqual([settings.host, settings.port, settings.model], ["127.0.0.1", 8000, undefined]);
  assert.deepEqual(settings.engine, {});
  assert.deepEqual(settings.instance.apiKeys, []);
});

Deno.test("readSettings takes both spellings of a flag", () => {
  for (
    const args of [["--max-model-len", "512"], ["--max-model-len=512"], ["--max_model_len=512"]]
  ) {
    assert.equal(read(args).engine.maxModelLen, 512);
  }
  assert.equal(read(["--no-enable-prefix-caching"]).engine.enablePrefixCaching, false);
  assert.equal(read(["--enable-prefix-caching"]).engine.enablePrefixCaching, true);
  assert.equal(read(["--gpu-memory-utilization", "0.85"]).engine.gpuMemoryUtilization, 0.85);
  assert.equal(read(["--load-format=dummy"]).engine.loadFormat, "dummy");
  assert.deepEqual(read(["--pipeline-depth", "2", "--block-size=32"]).engine, {
    pipelineDepth: 2,
    blockSize: 32,
  });
  assert.deepEqual(read(["--api-key", "a", "--api-key=b=c"]).instance.apiKeys, ["a", "b=c"]);
});

Deno.test("readSettings refuses a key that no header can carry, and does not show it", () => {
  for (const key of ["two words", "tab\t", "ключ"]) {
    assert.throws(() => read(["--api-key", key]), (error: Error) => {
      assert.match(error.message, /^Cannot read --api-key: a key must be printable ASCII/);
      return !error.message.includes(key);
    });
  }
});

Deno.test("readSettings takes loopback's names alone on loopback without a key", () => {
  const hosts = (...args: string[]) => {
    const { host, instance } = read(args);
    return hostsOf(host, instance);
  };
  assert.deepEqual(hosts(), ["localhost", "127.0.0.1", "[::1]"]);
  assert.deepEqual(hosts("--host", "::1", "--allowed-host", "box").at(-1), "box");
  assert.ok(hosts("--host", "127.0.0.2").includes("127.0.0.2"));
  assert.ok(hosts("--host", "LOCALHOST").includes("localhost"));
  const given = ["--allowed-host", "a.example"];
  assert.ok(hosts("--host", "0.0.0.0", ...given).includes("a.example"));
  assert.ok(hosts("--api-key", "k", ...given).includes("a.example"));
  for (const odd of ["a.example:80", "http://a", "a b", "::1"]) {
    assert.throws(() => hosts("--allowed-host", odd), /a name must stand alone, without a port/);
  }
  assert.deepEqual(hosts("--api-key", "k"), []);
  assert.deepEqual(hosts("--host", "0.0.0.0"), []);
});

Deno.test("readSettings takes origins as browsers write them", () => {
  const origins = ["*", "null", "http://localhost:3000", "https://[::1]:8443", "app://x.example"];
  const args = origins.flatMap((origin) => ["--cors-origin", origin]);
  assert.deepEqual(read(args).instance.corsOrigins, origins);
});

Deno.test("reasonOf calls an option by its flag", () => {
  const broken = { field: "maxModelLen", rule: "be at most 8192", value: "9000" };
  assert.equal(
    reasonOf(new EngineError("invalid_argument", "max_model_len must", broken)),
    "Cannot open engine: --max-model-len must be at most 8192: current value is 9000",
  );
  assert.equal(reasonOf(new EngineError("io_error", "Cannot read it")), "Cannot read it");
});

Deno.test("readSettings reads variables, which flags override", () => {
  const variables = {
    HEARTH_PORT: "9000",
    HEARTH_API_KEY: "a, b",
    HEARTH_ENABLE_PREFIX_CACHING: "0",
    HEARTH_VERSION: "1.2.3",
    HEARTH_MODEL: "",
  };
  const settings = read([], variables);
  assert.equal(settings.port, 9000);
  assert.deepEqual(settings.instance.apiKeys, ["a", "b"]);
  assert.equal(settings.engine.enablePrefixCaching, false);
  assert.equal(settings.version, false, "--version is for the command line alone");
  assert.equal(settings.model, undefined);
  assert.equal(read(["--port", "1"], variables).port, 1);
  assert.deepEqual(read(["--api-key", "c"], variables).instance.apiKeys, ["c"]);
});

Deno.test("readSettings reads bytes with binary units", () => {
  for (
    const [text, bytes] of [["4096", 4096], ["2KiB", 2048], ["1.5M", 1572864], ["2gib", 2 ** 31]]
  ) {
    assert.equal(read(["--kv-cache-memory-bytes", String(text)]).engine.kvCacheMemoryBytes, bytes);
  }
});

const refusals: [string[], RegExp][] = [
  [["--max-modle-len", "1"], /^Unknown flag --max-modle-len: did you mean --max-model-len\?$/],
  [["--no-prefix-caching"], /did you mean --no-enable-prefix-caching\?/],
  [["--constructor"], /^Unknown flag --constructor/],
  [["serve"], /"serve": flags begin with --/],
  [["--port"], /--port: it needs a value/],
  [["--port", "70000"], /--port: it must be an integer from 0 to 65535: current value is 70000/],
  [["--port", "80a"], /current value is 80a/],
  [["--max-num-seqs", "0"], /from 1 to 65536: current value is 0/],
  [["--max-model-len", "1.5"], /must be an integer/],
  [["--gpu-memory-utilization", "1.5"], /must be a number from 0.01 to 1: current value is 1.5/],
  [["--gpu-memory-utilization", "90%"], /must be a number/],
  [["--load-format", "gguf"], /must be auto, dummy: current value is gguf/],
  [["--isa", "sse"], /must be auto, generic, avx2, avx512, amx: current value is sse/],
  [["--device", "gpu"], /must be auto\|cpu\|cuda\|cuda:N: current value is gpu/],
  [["--block-size", "17"], /must be 16, 32, 64: current value is 17/],
  [["--body-limit", "lots"], /must be at least 1024 bytes, as in 512MiB or 2GiB/],
  [["--drain-timeout", "-1"], /must be seconds from 0 to 86400: current value is -1/],
  [["--api-key", ""], /must not be empty/],
  ...["http://a/", "http://A", "https://a:443", "a.example", "http://a/b"].map((origin) =>
    [["--cors-origin", origin], /an origin is scheme:\/\/host in small letters/] as [
      string[],
      RegExp,
    ]
  ),
];

for (const [args, message] of refusals) {
  Deno.test(`readSettings refuses ${args.join(" ")}`, () => {
    assert.throws(() => read(args), (error) => {
      assert.ok(error instanceof FlagError);
      assert.match(error.message, message);
      return true;
    });
  });
}

Deno.test("readSettings names the variable that is wrong", () => {
  assert.throws(() => read([], { HEARTH_PORT: "x" }), /Cannot read HEARTH_PORT: it must be/);
  assert.throws(() => read([], { HEARTH_ENABLE_PREFIX_CACHING: "maybe" }), /must be 1 or 0/);
  assert.throws(
    () => read([], { HEARTH_API_KEY: "a b" }),
    /^FlagError: Cannot read HEARTH_API_KEY: a key/,
  );
});

Deno.test("settingsHelp lists every flag with its default", () => {
  const help = settingsHelp();
  for (const part of ["--model PATH_OR_ID", "--port N", "[8000]", "--isa auto|generic|avx2"]) {
    assert.ok(help.includes(part), part);
  }
});
