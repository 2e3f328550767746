/**
 * What files say, read by its type: JSON's fields, texts, tables of tensors, recommended sampling.
 *
 * @module
 */
import assert from "node:assert/strict";
import { HUB_URL } from "@huggingface/hub";
import { type Environment, withEnvironment } from "./environment.ts";
import { hubCacheFolder, hubHome, modelCacheFolder } from "../../model/cache_folders.ts";
import { Fields, shownValue } from "../../model/fields.ts";
import { fingerprint } from "../../model/fingerprint.ts";
import { hubEndpoint, hubFileUrl, hubHeaders, isOffline } from "../../model/hub_access.ts";
import { readJsonObject, readTextFile } from "../../model/json_file.ts";
import { ggufSamplingDefaults, samplingDefaults } from "../../model/sampling_defaults.ts";
import { ScratchFolder } from "./files.ts";

const fields = (values: Record<string, unknown>, kind = "config.json:") =>
  new Fields("m", kind, new Map(Object.entries(values)));

Deno.test("Fields counts null as absent, and knows it", () => {
  const some = fields({ a: null, b: 0, c: false, d: "" });
  assert.deepEqual(["a", "b", "c", "d", "e"].map((key) => some.has(key)), [
    false,
    true,
    true,
    true,
    false,
  ]);
  assert.deepEqual(["a", "b", "e"].map((key) => some.isNull(key)), [true, false, false]);
  assert.deepEqual(["a", "b", "e"].map((key) => some.raw(key)), [undefined, 0, undefined]);
  assert.equal(some.integer("a", 0, 9, 5), 5);
});

type Read = (all: Fields) => unknown;
const read: readonly (readonly [value: unknown, read: Read, expected: unknown])[] = [
  ["text", (all) => all.string("k"), "text"],
  ["", (all) => all.string("k", "other"), ""],
  [false, (all) => all.boolean("k", true), false],
  [3, (all) => all.integer("k", 3, 3), 3],
  [0.25, (all) => all.number("k", 0), 0.25],
  [["a", "b"], (all) => all.strings("k"), ["a", "b"]],
  [[], (all) => all.strings("k"), []],
  [Int8Array.of(1), (all) => all.numbers("k"), Int8Array.of(1)],
  [undefined, (all) => all.string("k", "other"), "other"],
  [undefined, (all) => all.boolean("k", true), true],
  [undefined, (all) => all.integer("k", 1, 9, 4), 4],
  [undefined, (all) => all.number("k", 0, 4), 4],
  [undefined, (all) => all.strings("k", ["a"]), ["a"]],
  [undefined, (all) => all.numbers("k", Int8Array.of(2)), Int8Array.of(2)],
  [undefined, (all) => all.nested("k"), undefined],
  [{ a: 1 }, (all) => all.nested("k")?.integer("a", 0, 9), 1],
];

Deno.test("Fields gives values of the type that is asked for, else what stands for them", () => {
  for (const [value, reads, expected] of read) {
    assert.deepEqual(reads(fields({ k: value })), expected, `${reads}`);
  }
});

const list = "a list or an object";
const refused: readonly (readonly [value: unknown, read: Read, problem: string])[] = [
  [undefined, (all) => all.string("k"), "k is missing"],
  [null, (all) => all.boolean("k"), "k is missing"],
  [1, (all) => all.string("k"), "k must be a string: current value is 1"],
  ["true", (all) => all.boolean("k"), "k must be true or false: current value is true"],
  [
    2,
    (all) => all.integer("k", 3, 5),
    "k must be a whole number from 3 to 5: current value is 2",
  ],
  [
    6,
    (all) => all.integer("k", 3, 5),
    "k must be a whole number from 3 to 5: current value is 6",
  ],
  [
    3.5,
    (all) => all.integer("k", 3, 5),
    "k must be a whole number from 3 to 5: current value is 3.5",
  ],
  [0, (all) => all.number("k", 0), "k must be a number above 0: current value is 0"],
  [Infinity, (all) => all.number("k", 0), "k must be a number above 0: current value is Infinity"],
  ["1", (all) => all.number("k", 0), "k must be a number above 0: current value is 1"],
  ["a", (all) => all.strings("k"), "k must be an array of strings: current value is a"],
  [["a", 1], (all) => all.strings("k"), `k must be an array of strings: current value is ${list}`],
  [[1], (all) => all.numbers("k"), `k must be an array of numbers: current value is ${list}`],
  [
    "x".repeat(81),
    (all) => all.nested("k"),
    `k must be an object: current value is ${"x".repeat(80)}`,
  ],
  [[], (all) => all.nested("k"), `k must be an object: current value is ${list}`],
  [{ a: 1 }, (all) => all.nested("k")?.string("a"), "k.a must be a string: current value is 1"],
  [
    { a: { b: 1 } },
    (all) => all.nested("k")?.nested("a")?.string("b"),
    "k.a.b must be a string: current value is 1",
  ],
];

Deno.test("Fields says which field is missing or of a wrong type", () => {
  for (const [value, reads, problem] of refused) {
    assert.throws(() => reads(fields({ k: value })), {
      name: "ModelError",
      message: `Cannot open model m: config.json: ${problem}`,
    });
  }
  assert.throws(() => fields({}, "metadata key").string("a.b"), {
    message: "Cannot open model m: metadata key a.b is missing",
  });
  const shown = [null, undefined, 1n, true].map(shownValue);
  assert.deepEqual(shown, ["null", "undefined", "1", "true"]);
});

Deno.test("readJsonObject() says what is wrong with a file, and gives none where there is none", () => {
  using folder = new ScratchFolder();
  const read = (content: string, maxBytes = 10) =>
    readJsonObject(folder.write("a.json", content), maxBytes);
  const path = `${folder.path}/a.json`;
  assert.equal(readJsonObject(path, 10), undefined);
  assert.equal(readTextFile(path, 10), undefined);
  assert.deepEqual(read('{"a": 100}'), { a: 100 });
  assert.equal(readTextFile(path, 10), '{"a": 100}');
  const tooLarge = `Cannot read ${path}: it must have at most 9 bytes: it has 10`;
  assert.throws(() => read('{"a": 100}', 9), { name: "ModelError", message: tooLarge });
  for (const content of ["[]", "null", '"a"', "1"]) {
    const message = `Cannot read ${path}: it must hold an object`;
    assert.throws(() => read(content), { name: "ModelError", message });
  }
  assert.throws(() => read("{"), /^ModelError: Cannot read .*a.json: it is not JSON: \w+/);
  assert.throws(
    () => readTextFile(folder.path, 1 << 20),
    (error: Error) => error.name === "ModelError" && /^Cannot read \/.*: \S/.test(error.message),
  );
});

Deno.test("fingerprint() changes with a file's name, size, time and header", () => {
  using folder = new ScratchFolder();
  const at = (name: string, content: string, seconds: number) => {
    const path = folder.write(name, content);
    Deno.utimeSync(path, seconds, seconds);
    return path;
  };
  const header = Uint8Array.of(1);
  const one = fingerprint([at("a", "x", 1000)], [header]);
  assert.equal(fingerprint([at("deep/a", "x", 1000)], [header]), one, "folders do not matter");
  const others = [
    fingerprint([at("b", "x", 1000)], [header]),
    fingerprint([at("a", "xy", 1000)], [header]),
    fingerprint([at("a", "x", 1001)], [header]),
    fingerprint([at("a", "x", 1000)], [Uint8Array.of(2)]),
    fingerprint([at("a", "x", 1000)], []),
    fingerprint([at("a", "x", 1000), at("b", "x", 1000)], [header, header]),
    fingerprint([at("b", "x", 1000), at("a", "x", 1000)], [header, header]),
  ];
  assert.equal(new Set([one, ...others]).size, 8);
  assert.ok(one >= 0n && one < 2n ** 64n);
});

const all = { temperature: 0.5, top_p: 0.6, top_k: 7, min_p: 0.1, repetition_penalty: 1.1 };
const taken = { temperature: 0.5, topP: 0.6, topK: 7, minP: 0.1, repetitionPenalty: 1.1 };

Deno.test("samplingDefaults() and ggufSamplingDefaults() take what each field is called there", () => {
  assert.deepEqual(samplingDefaults({ ...all, other: 1 }), taken);
  const metadata: Record<string, number> = {
    "general.sampling.temp": 0.5,
    "general.sampling.top_p": 0.6,
    "general.sampling.top_k": 7,
    "general.sampling.min_p": 0.1,
    "general.sampling.penalty_repeat": 1.1,
  };
  assert.deepEqual(ggufSamplingDefaults((key) => metadata[key]), taken);
  const usual = { temperature: 1, top_p: 1, top_k: 50, min_p: 0, repetition_penalty: 1 };
  for (const [name, value] of Object.entries(usual)) {
    assert.deepEqual(samplingDefaults({ [name]: value }), {}, `${name} as Transformers has it`);
    const other = { temperature: 0, top_p: 0.5, top_k: 0, min_p: 0.5, repetition_penalty: 2 }[name];
    assert.deepEqual(Object.values(samplingDefaults({ [name]: other })), [other]);
  }
});

/** The cache's folders and the Hub's address in an environment. */
const places:
  readonly (readonly [environment: Environment, read: () => unknown, place: unknown])[] = [
    [{ XDG_CACHE_HOME: "/x" }, modelCacheFolder, "/x/hearth/models"],
    [{ HOME: "/h" }, modelCacheFolder, "/h/.cache/hearth/models"],
    [{ HOME: "/h", XDG_CACHE_HOME: "" }, modelCacheFolder, "/h/.cache/hearth/models"],
    [{ HOME: "/h", XDG_CACHE_HOME: "/x" }, hubHome, "/x/huggingface"],
    [{ HOME: "/h", HF_HOME: "/f" }, hubHome, "/f"],
    [{ HOME: "/h" }, hubCacheFolder, "/h/.cache/huggingface/hub"],
    [{ HF_HOME: "/f" }, hubCacheFolder, "/f/hub"],
    [{ HF_HOME: "/f", HF_HUB_CACHE: "/c" }, hubCacheFolder, "/c"],
    [{ HF_ENDPOINT: "http://a.b/" }, hubEndpoint, "http://a.b"],
    [{ HF_ENDPOINT: "http://a.b//" }, hubEndpoint, "http://a.b"],
    [{}, hubEndpoint, HUB_URL],
    [{ HF_ENDPOINT: "" }, hubEndpoint, HUB_URL],
    [
      { HF_ENDPOINT: "http://a" },
      () => hubFileUrl("o/n", "refs/pr/1", "d e/f#.gguf"),
      "http://a/o/n/resolve/refs%2Fpr%2F1/d%20e/f%23.gguf",
    ],
    [{ HF_HOME: "/none" }, hubHeaders, { "user-agent": "hearth" }],
    [
      { HF_HOME: "/none", HF_TOKEN: "t" },
      hubHeaders,
      { "user-agent": "hearth", authorization: "Bearer t" },
    ],
    ...["1", "true", "yes", "on", "TRUE", "On"].map((value) =>
      [{ HF_HUB_OFFLINE: value }, isOffline, true] as const
    ),
    ...["0", "", "false", "no", "off", "2"].map((value) =>
      [{ HF_HUB_OFFLINE: value }, isOffline, false] as const
    ),
    [{}, isOffline, false],
  ];

Deno.test("The environment says where the Hub and its cache are", async () => {
  for (const [environment, read, place] of places) {
    using _ = withEnvironment(environment);
    assert.deepEqual(await read(), place, JSON.stringify(environment));
  }
  using _ = withEnvironment({});
  assert.throws(modelCacheFolder, {
    name: "ModelError",
    message: "Cannot find the cache folder: neither XDG_CACHE_HOME nor HOME is set",
  });
});

Deno.test("hubHeaders() takes the token of the file that is named, else of HF_HOME", () => {
  using folder = new ScratchFolder();
  folder.write("token", " of home\n");
  const named = folder.write("named", "named\n");
  const authorization = (environment: Environment) => {
    using _ = withEnvironment({ HF_HOME: folder.path, ...environment });
    return hubHeaders()["authorization"];
  };
  assert.equal(authorization({}), "Bearer of home");
  assert.equal(authorization({ HF_TOKEN_PATH: named }), "Bearer named");
  assert.equal(authorization({ HF_TOKEN_PATH: named, HF_TOKEN: "t" }), "Bearer t");
  assert.equal(authorization({ HF_TOKEN_PATH: "", HF_TOKEN: "" }), "Bearer of home");
  folder.write("token", "\n");
  assert.equal(authorization({}), undefined);
  folder.write("token", "t".repeat(4096));
  assert.equal(authorization({})?.length, 4103);
  folder.write("token", "t".repeat(4097));
  assert.throws(() => authorization({}), /it must have at most 4096 bytes: it has 4097/);
});
