/**
 * Blocks as functions: `self.name()`.
 *
 * @module
 */
import type { Context } from "./frame.ts";
import type { Run } from "./run.ts";
import { Writer } from "./text.ts";
import { Callable, Thing, type Value } from "./values.ts";

/** A block: its output, and the scope that names in it come from. */
export type Block = (run: Run, context: Context, out: Writer) => void;

/** The template's blocks, by `self.name()`. */
export class TemplateReference extends Thing {
  readonly typeName = "TemplateReference";
  readonly #blocks: ReadonlyMap<string, Block>;
  readonly #context: Context;

  constructor(blocks: ReadonlyMap<string, Block>, context: Context) {
    super();
    this.#blocks = blocks;
    this.#context = context;
  }

  override repr(): string {
    return "<TemplateReference None>";
  }

  override attribute(_: Run, name: string): Value | undefined {
    const block = this.#blocks.get(name);
    if (block === undefined) return undefined;
    return new Callable(name, (run) =>
      run.nested(() => {
        const out = new Writer(run);
        block(run, this.#context, out);
        return out.finish();
      }));
  }
}
