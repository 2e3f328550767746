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

Deno.test("readSettings takes weights of keys that there are, and shows none", () => {
  const keys = ["--api-key", "a", "--api-key", "b=c"];
  const given = [...keys, "--key-weight", "b=c=3"];
  assert.deepEqual(read(given).instance.keyWeights, ["b=c=3"]);
  for (const odd of ["secret", "secret=0", "secret=1001", "secret=1.5", "secret=2"]) {
    assert.throws(() => read([...keys, "--key-weight", odd]), (error: Error) => {
      assert.match(error.message, /^Cannot read --key-weight: /);
      return !error.message.includes("secret");
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

/** Of each number: the least and the most that its flag takes, and the kind that the refusal names. */
const ranges: readonly (readonly [flag: string, least: number, most: number, what: string])[] = [
  ["port", 0, 65_535, "an integer"],
  ["drain-timeout", 0, 86_400, "seconds"],
  ["max-requests-per-key", 0, 4_294_967_295, "an integer"],
  ["num-threads", 1, 4_294_967_295, "an integer"],
  ["max-model-len", 1, 4_294_967_295, "an integer"],
  ["max-num-seqs", 1, 65_536, "an integer"],
  ["max-num-batched-tokens", 1, 65_536, "an integer"],
  ["gpu-memory-utilization", 0.01, 1, "a number"],
  ["max-queued-requests", 1, 4_294_967_295, "an integer"],
  ["max-queued-tokens", 1, Number.MAX_SAFE_INTEGER, "an integer"],
  ["priority-ageing-ms", 1, 4_294_967_295, "an integer"],
];

Deno.test("readSettings takes each number up to its bounds, and says them", () => {
  for (const [flag, least, most, what] of ranges) {
    const name = flag.replaceAll(/-(.)/g, (_, letter) => letter.toUpperCase());
    for (const value of [least, most]) {
      const { engine, instance, ...own } = read([`--${flag}=${value}`]);
      const all: Record<string, unknown> = { ...own, ...engine, ...instance };
      assert.equal(all[name], value, flag);
    }
    const rule = `must be ${what} from ${least} to ${most}`;
    for (const value of [least - 1, what === "an integer" ? `${most}0` : most + 0.5]) {
      assert.throws(() => read([`--${flag}=${value}`]), {
        name: "FlagError",
        message: `Cannot read --${flag}: it ${rule}: current value is ${value}`,
      });
    }
  }
});

Deno.test("readSettings reads sizes in every unit", () => {
  const sizes: Readonly<Record<string, number>> = {
    "1024": 1024,
    "2000B": 2000,
    "2K": 2048,
    "2KB": 2048,
    "2 kib": 2048,
    "3m": 3 << 20,
    "3MiB": 3 << 20,
    "1G": 2 ** 30,
    "1TiB": 2 ** 40,
    "1.0005K": 1024,
  };
  for (const [text, bytes] of Object.entries(sizes)) {
    assert.equal(read(["--body-limit", text]).instance.bodyLimitBytes, bytes, text);
  }
  for (const text of ["1023", "1KiBs", "K", "1X", "-1K", "1.K", "1  K", "1iB"]) {
    assert.throws(() => read(["--body-limit", text]), {
      message: "Cannot read --body-limit: it must be at least 1024 bytes, as in 512MiB or 2GiB: " +
        `current value is ${text}`,
    });
  }
});

Deno.test("readSettings reads switches of variables in every word", () => {
  const isOn = (value: string) => read([], { HEARTH_LOG_PROBES: value }).instance.logProbes;
  for (const value of ["1", "true", "YES", "on"]) assert.equal(isOn(value), true, value);
  for (const value of ["0", "false", "No", "OFF"]) assert.equal(isOn(value), false, value);
  for (const value of ["2", "y", "onn", "10"]) {
    assert.throws(() => isOn(value), {
      message: `Cannot read HEARTH_LOG_PROBES: it must be 1 or 0: current value is ${value}`,
    });
  }
});

Deno.test("readSettings takes switches, actions and lists in their forms alone", () => {
  assert.equal(read(["--log-probes"]).instance.logProbes, true);
  assert.equal(read(["--no-log-probes"]).instance.logProbes, false);
  assert.equal(read(["--log-probes=0"]).instance.logProbes, false);
  const both = read(["--help", "--version"]);
  assert.deepEqual([both.help, both.version], [true, true]);
  assert.deepEqual([read([]).help, read([]).version], [false, false]);
  const names = { HEARTH_SERVED_MODEL_NAME: "a , b" };
  assert.deepEqual(read([], names).instance.servedModelNames, ["a", "b"]);
  const flags = ["--served-model-name", "c", "--served-model-name=d"];
  assert.deepEqual(read(flags, names).instance.servedModelNames, ["c", "d"]);
  assert.deepEqual(read(["--cors-origin", "*"]).instance.corsOrigins, ["*"]);
  assert.equal(read(["--log-format", "json"]).instance.accessLog, "json");
  assert.equal(read(["--generation-config=vllm"]).instance.generationConfig, "vllm");
  assert.equal(read(["--share-prefixes-across-keys"]).instance.sharePrefixesAcrossKeys, true);
  const wrong: readonly (readonly [args: string[], message: string])[] = [
    [["--port="], "Cannot read --port: it must not be empty: current value is empty"],
    [["--no-log-probes=1"], "Cannot read --no-log-probes=1: it takes no value"],
    [["-p", "1"], 'Cannot read "-p": flags begin with --; see --help'],
    [["--num-kv-blocks", "1"], "Unknown flag --num-kv-blocks: did you mean --num-threads?"],
    [["--no-port"], "Unknown flag --no-port: did you mean --no-log-probes?"],
    [
      ["--allowed-host", "a:1"],
      "Cannot read --allowed-host: a name must stand alone, without " +
      "a port: current value is a:1",
    ],
    [["--api-key", "a b"], "Cannot read --api-key: a key must be printable ASCII without spaces"],
  ];
  for (const [args, message] of wrong) {
    assert.throws(() => read(args), (error: Error) => {
      // Which known flag is nearest is another's affair.
      const [said, meant] = [error.message, message].map((text) => text.replace(/mean --.*/, ""));
      assert.deepEqual([error.name, said], ["FlagError", meant]);
      return true;
    });
  }
});

Deno.test("readSettings gives each option that is not said its default", () => {
  assert.deepEqual(read([]), {
    host: "127.0.0.1",
    port: 8000,
    drainTimeout: 30,
    help: false,
    version: false,
    engine: {},
    instance: {
      servedModelNames: [],
      generationConfig: "auto",
      apiKeys: [],
      keyWeights: [],
      allowNegativePriority: false,
      maxRequestsPerKey: 0,
      allowedHosts: [],
      sharePrefixesAcrossKeys: false,
      corsOrigins: [],
      bodyLimitSumBytes: 256 << 20,
      accessLog: "text",
      logProbes: false,
    },
  });
});

Deno.test("settingsHelp has a line for each flag, texts below each other", () => {
  const lines = settingsHelp().split("\n");
  assert.deepEqual(lines.slice(0, 2), ["deno task serve [flags]", ""]);
  assert.equal(
    lines.at(-1),
    "Each flag is a variable too: --max-model-len is HEARTH_MAX_MODEL_LEN. A flag wins.",
  );
  const rows = lines.slice(2, -2);
  assert.deepEqual(rows.map((row) => /^ {2}(.*?) {2,}/.exec(row)?.[1]), [
    "--model PATH_OR_ID",
    "--host HOST",
    "--port N",
    "--drain-timeout SECONDS",
    "--help",
    "--version",
    "--served-model-name NAME",
    "--generation-config auto|vllm",
    "--api-key KEY",
    "--key-weight KEY=N",
    "--allow-negative-priority",
    "--max-requests-per-key N",
    "--allowed-host NAME",
    "--share-prefixes-across-keys",
    "--cors-origin ORIGIN",
    "--body-limit BYTES",
    "--body-limit-sum BYTES",
    "--log-format text|json|off",
    "--log-probes",
    "--device auto|cpu|cuda|cuda:N",
    "--num-threads N",
    "--isa auto|generic|avx2|avx512|amx",
    "--activation-dtype auto|fp32|int8",
    "--kv-cache-dtype auto|fp32|fp16|bf16",
    "--block-size 16|32|64",
    "--max-model-len N",
    "--max-num-seqs N",
    "--max-num-batched-tokens N",
    "--max-step-ms N",
    "--kv-cache-memory-bytes BYTES",
    "--max-queued-requests N",
    "--max-queued-tokens N",
    "--max-unread-bytes BYTES",
    "--gpu-memory-utilization SHARE",
    "--load-format auto|dummy",
    "--pipeline-depth 1|2",
    "--[no-]enable-prefix-caching",
    "--priority-ageing-ms N",
    "--trust-message-tokens",
  ]);
  const starts = rows.map((row) => /^ {2}.*? {2,}(?=\S)/.exec(row)![0].length);
  assert.equal(new Set(starts).size, 1);
  assert.equal(
    starts[0],
    Math.max(...rows.map((row) => / {2,}(?=\S)/.exec(row.slice(2))!.index)) + 4,
  );
});
