/**
 * What a rendering may use, to the last step: what is billed for what stands in `tables.json`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { BUILTINS } from "../../model/jinja/builtins.ts";
import { type Budget, Run, TemplateError } from "../../model/jinja/run.ts";
import { Template } from "../../model/jinja/template.ts";

const ENDLESS: Budget = { steps: 1e12, characters: 1e12, milliseconds: Infinity };

const runWith = (budget: Partial<Budget>) =>
  new Run({ ...ENDLESS, ...budget }, new Date(), BUILTINS);

/** Steps that an action takes: the fewest that let it through. */
function stepsOf(action: (run: Run) => void): number {
  for (let steps = 0;; steps++) {
    try {
      action(runWith({ steps }));
      return steps;
    } catch (error) {
      assert.ok(error instanceof TemplateError, String(error));
    }
  }
}

Deno.test("a budget lets through what it has and no more", () => {
  const run = runWith({ steps: 10, characters: 100 });
  run.spend(3);
  run.spend(7);
  run.spend(0);
  assert.throws(() => run.spend(1), { message: "the template takes more than 10 steps" });
  const written = runWith({ characters: 100 });
  written.make(60);
  written.make(40);
  assert.throws(() => written.make(1), { message: "the template makes more than 100 characters" });
  for (const use of ["spend", "make"] as const) {
    assert.throws(() => runWith({})[use](NaN), TemplateError, use);
  }
});

Deno.test("a text is billed by its length, and items by what they take", () => {
  const table: [steps: number, action: (run: Run) => void][] = [
    [1, (run) => run.read("")],
    [1, (run) => run.read("a".repeat(31))],
    [2, (run) => run.read("a".repeat(32))],
    [1, (run) => run.examine("a".repeat(7))],
    [2, (run) => run.examine("a".repeat(8))],
    [1, (run) => run.make(31)],
    [2, (run) => run.make(32)],
    [1, (run) => run.makeItems(3)],
    [2, (run) => run.makeItems(4)],
    [3, (run) => run.makeEntries(1)],
  ];
  for (const [steps, action] of table) assert.equal(stepsOf(action), steps, String(action));
  for (const [size, make] of [[8, "makeItems"], [64, "makeEntries"]] as const) {
    runWith({ characters: size })[make](1);
    assert.throws(() => runWith({ characters: size - 1 })[make](1), TemplateError, make);
  }
});

Deno.test("what nests is refused behind its 180th call, and may nest again when it is done", () => {
  const run = runWith({});
  const nest = (depth: number): number => depth === 0 ? 0 : 1 + run.nested(() => nest(depth - 1));
  assert.equal(nest(180), 180);
  const message = "macros and recursive loops must be nested at most 180 deep";
  assert.throws(() => nest(181), { message });
  assert.equal(nest(180), 180);
});

Deno.test("what nests in the template's text is refused behind its border", () => {
  const nested = (open: string, close: string, depth: number) =>
    new Template(open.repeat(depth) + "{{ 1 }}" + close.repeat(depth));
  const inBrackets = (depth: number) =>
    new Template(`{{ ${"[".repeat(depth)}${"]".repeat(depth)} }}`);
  nested("{% if 1 %}", "{% endif %}", 90);
  assert.throws(() => nested("\n{% if 1 %}", "{% endif %}", 91), {
    message: "line 92: tags must be nested at most 90 deep",
  });
  inBrackets(200);
  assert.throws(() => inBrackets(201), {
    message: "line 1: expressions must be nested at most 200 deep",
  });
});

Deno.test("the clock is looked at after each 65,536 steps, and at the end of them", () => {
  const now = performance.now;
  let time = 0;
  try {
    performance.now = () => time;
    const run = runWith({ milliseconds: 50 });
    time = 50;
    run.spend(65_537);
    time = 51;
    run.spend(65_536);
    assert.throws(() => run.spend(1), { message: "the template takes more than 50 ms" });
    const short = runWith({ steps: 10, milliseconds: 50 });
    time = 102;
    short.spend(10);
  } finally {
    performance.now = now;
  }
});

Deno.test("what nests too deep for JavaScript is refused, and other errors are not hidden", () => {
  const deep = "{{ " + "-".repeat(200_000) + "1 }}";
  const message = "the template is nested too deep, or makes too long a text";
  assert.throws(() => new Template(deep), { name: "TemplateError", message });
  const template = new Template("{{ x }}");
  const broken = { get: () => assert.fail("not the template's fault") } as never;
  assert.throws(
    () => template.render(broken, { budget: ENDLESS, now: new Date() }),
    assert.AssertionError,
  );
});
