import assert from "node:assert/strict";
import { interleave } from "../../functions/server/interleave.ts";

async function* counting(to: number): AsyncGenerator<number> {
  for (let i = 0; i < to; i++) {
    await new Promise((resolve) => setTimeout(resolve));
    yield i;
  }
}

Deno.test("interleave gives every value of every source, each source's in order", async () => {
  const seen: number[][] = [[], [], []];
  for await (const { source, value } of interleave([counting(3), counting(0), counting(5)])) {
    seen[source]!.push(value);
  }
  assert.deepEqual(seen, [[0, 1, 2], [], [0, 1, 2, 3, 4]]);
});

Deno.test("interleave tells a failure at once, whatever the others wait for", async () => {
  const { promise: never } = Promise.withResolvers<void>();
  async function* waiting(): AsyncGenerator<number> {
    await never;
    yield 0;
  }
  async function* failing(): AsyncGenerator<number> {
    yield 1;
    throw new RangeError("no more");
  }
  const seen: number[] = [];
  await assert.rejects(async () => {
    for await (const { value } of interleave([waiting(), failing()])) seen.push(value);
  }, /no more/);
  assert.deepEqual(seen, [1]);
});

Deno.test("interleave returns its sources when the loop is left", async () => {
  const returned: string[] = [];
  async function* source(name: string): AsyncGenerator<string> {
    try {
      for (;;) yield name;
    } finally {
      returned.push(name);
    }
  }
  for await (const _ of interleave([source("a"), source("b")])) break;
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(returned.sort(), ["a", "b"]);
});
