import assert from "node:assert/strict";
import fc from "fast-check";
import {
  BodyScan,
  MAX_COMMAS,
  MAX_CONTAINERS,
  MAX_DEPTH,
  MAX_STRINGS,
} from "../../functions/server/body_scan.ts";
import { allowLongTurns } from "../event_loop_guard.ts";
import { fakeHarness } from "./harness.ts";

const CHAT = "/v1/chat/completions";
const refuseComplex = (bytes: Uint8Array) => new BodyScan().add(bytes);
const bytesOf = (text: string) => new TextEncoder().encode(text);

/** What the scan counts, by walking the value. */
function count(value: unknown): { depth: number; containers: number; strings: number } {
  if (typeof value === "string") return { depth: 0, containers: 0, strings: 1 };
  if (typeof value !== "object" || value === null) return { depth: 0, containers: 0, strings: 0 };
  const inside = Object.values(value).map(count);
  const sum = (key: "containers" | "strings") => inside.reduce((all, one) => all + one[key], 0);
  return {
    depth: 1 + Math.max(0, ...inside.map(({ depth }) => depth)),
    containers: 1 + sum("containers"),
    strings: sum("strings") + (Array.isArray(value) ? 0 : Object.keys(value).length),
  };
}

Deno.test("BodyScan takes any value within the bounds, whatever its strings hold", () => {
  const nasty = fc.constantFrom('"', "\\", "[", "{", "]", "}", '\\"', "é", "\n");
  const text = fc.array(nasty).map((parts) => parts.join(""));
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(text, fc.integer(), fc.constant(null), tie("list"), tie("object")),
    list: fc.array(tie("value"), { maxLength: 5 }),
    object: fc.dictionary(text, tie("value"), { maxKeys: 5 }),
  }));
  fc.assert(fc.property(value, fc.integer({ min: 1, max: 7 }), (value, size) => {
    const { depth } = count(value);
    const bytes = bytesOf(JSON.stringify(value));
    const scan = () => {
      const scan = new BodyScan();
      for (let at = 0; at < bytes.length; at += size) scan.add(bytes.subarray(at, at + size));
    };
    depth > MAX_DEPTH ? assert.throws(scan, /levels deep/) : scan();
  }));
});

Deno.test("BodyScan counts exactly, strings apart", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  refuseComplex(bytesOf(nested(MAX_DEPTH)));
  assert.throws(() => refuseComplex(bytesOf(nested(MAX_DEPTH + 1))), /at most 64 levels deep/);
  const many = (count: number) => `[${"{},".repeat(count - 2)}{}]`;
  refuseComplex(bytesOf(many(MAX_CONTAINERS)));
  assert.throws(() => refuseComplex(bytesOf(many(MAX_CONTAINERS + 1))), /32768 objects and arrays/);
  const texts = (count: number) => JSON.stringify(Array(count).fill('\\"['));
  refuseComplex(bytesOf(texts(MAX_STRINGS)));
  assert.throws(() => refuseComplex(bytesOf(texts(MAX_STRINGS + 1))), /131072 strings/);
  const numbers = (commas: number) => new TextEncoder().encode(`[${"1,".repeat(commas)}1]`);
  refuseComplex(numbers(MAX_COMMAS));
  assert.throws(() => refuseComplex(numbers(MAX_COMMAS + 1)), /1048576 values/);
  refuseComplex(bytesOf(JSON.stringify("[".repeat(1e6))));
  refuseComplex(bytesOf(JSON.stringify(Array(1e6).fill(1)))); // numbers parse fast
  for (const broken of ["", '"', '"\\', "]]]]", "{", '{"a', "[[[", '\\"']) {
    refuseComplex(bytesOf(broken));
  }
});

Deno.test("Bodies that are slow to parse are refused before they are parsed", async (t) => {
  allowLongTurns("bodies of the largest size: read and looked over in one turn, 20 to 100 ms");
  await using harness = fakeHarness();
  const bodies: Readonly<Record<string, string>> = {
    "deep": `{"prompt":"x","zebra":${"[".repeat(4e6)}${"]".repeat(4e6)}}`,
    "many lists": `{"prompt":"x","zebra":[${"[1],".repeat(1e6)}1]}`,
    "many objects": `{"prompt":"x","zzz":[${"{},".repeat(2.6e6)}{}]}`,
    "many fields": `{"prompt":"x",${
      Array.from({ length: 4e5 }, (_, i) => `"field${i}":1`).join(",")
    }}`,
    "escaped quotes": `{"prompt":"${'\\"'.repeat(3e6)}","zebra":${"[".repeat(1e6)}`,
  };
  for (const [name, body] of Object.entries(bodies)) {
    await t.step(name, async () => {
      assert.ok(body.length < 8 << 20, `${body.length} bytes`);
      const parse = JSON.parse;
      JSON.parse = () => assert.fail("it was parsed");
      try {
        for (const path of [CHAT, "/v1/completions", "/generate", "/tokenize", "/detokenize"]) {
          const response = await harness.post(path, body);
          JSON.parse = parse;
          const { error } = await response.json();
          JSON.parse = () => assert.fail("it was parsed");
          assert.equal(response.status, 400, path);
          assert.match(
            error.message,
            /^Cannot read request: the body must (have|be nested) at most/,
          );
        }
      } finally {
        JSON.parse = parse;
      }
    });
  }
});

Deno.test("A body is parsed once", async () => {
  await using harness = fakeHarness();
  const parse = JSON.parse;
  let times = 0;
  JSON.parse = (...args: Parameters<typeof parse>) => (times++, parse(...args));
  try {
    const response = await harness.post(CHAT, {
      messages: [{ role: "user", content: "Hello" }],
      max_tokens: 1,
    });
    assert.equal(response.status, 200);
    assert.equal(times, 1);
    await response.body?.cancel();
  } finally {
    JSON.parse = parse;
  }
});
