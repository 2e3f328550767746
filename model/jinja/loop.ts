/**
 * The variable `loop`.
 *
 * @module
 */
import type { Arguments } from "./arguments.ts";
import { iterableOf, listOf } from "./items.ts";
import { equals } from "./operators.ts";
import { fail, type Run } from "./run.ts";
import type { Str } from "./text.ts";
import { Callable, Lazy, sizeOf, Thing, Tuple, typeName, Undefined, type Value } from "./values.ts";
import { countPoints, isStr, plain } from "./text.ts";

/** Renders a recursive loop's body for other items. */
export type Recurse = (items: Value, depth: number) => Str;

function orNone(item: Value | undefined, which: string): Value {
  return item === undefined ? new Undefined(() => `there is no ${which} item`) : item;
}

/** A loop while it runs; it looks at most one item ahead, as jinja2's does. */
export class Loop extends Thing {
  readonly typeName = "LoopContext";
  readonly #run: Run;
  readonly #items: Value;
  readonly #depth0: number;
  readonly #recurse: Recurse | undefined;
  #iterator: Iterator<Value>;
  #index0 = -1;
  #length: number | undefined;
  /** The item that comes next, where it was looked at. */
  #after: { readonly item: Value | undefined } | undefined;
  #current: Value | undefined;
  #before: Value | undefined;
  #lastChanged: Value | undefined;

  /** @param depth0 how many loops of its kind are around it */
  constructor(run: Run, items: Value, recurse?: Recurse, depth0 = 0) {
    super();
    this.#run = run;
    this.#items = items;
    this.#recurse = recurse;
    this.#depth0 = depth0;
    const iterable = iterableOf(run, items) ?? fail(`'${typeName(items)}' object is not iterable`);
    this.#iterator = iterable[Symbol.iterator]();
  }

  /** The next item; undefined behind the last. */
  advance(): Value | undefined {
    const item = this.#peek();
    this.#after = undefined;
    if (item === undefined) return undefined;
    this.#index0++;
    this.#before = this.#current;
    this.#current = item;
    return item;
  }

  #peek(): Value | undefined {
    if (this.#after === undefined) {
      const { done, value } = this.#iterator.next();
      this.#after = { item: done ? undefined : value };
    }
    return this.#after.item;
  }

  override iterate(): Iterable<Value> {
    const advance = (): IteratorResult<Value> => {
      const item = this.advance();
      return item === undefined
        ? { done: true, value: undefined }
        : { done: false, value: new Tuple([item, this]) };
    };
    return { [Symbol.iterator]: () => ({ next: advance }) };
  }

  override size(): number {
    if (this.#length !== undefined) return this.#length;
    const items = this.#items;
    if (isStr(items)) this.#run.read(plain(items));
    const known = isStr(items) ? countPoints(plain(items)) : sizeOf(items);
    if (known !== undefined) return this.#length = known;
    const rest = listOf(this.#run, new Lazy({ [Symbol.iterator]: () => this.#iterator }));
    this.#iterator = rest[Symbol.iterator]();
    const ahead = this.#after?.item === undefined ? 0 : 1;
    return this.#length = rest.length + this.#index0 + 1 + ahead;
  }

  override attribute(_: Run, name: string): Value | undefined {
    switch (name) {
      case "index":
        return this.#index0 + 1;
      case "index0":
        return this.#index0;
      case "first":
        return this.#index0 === 0;
      case "last":
        return this.#peek() === undefined;
      case "length":
        return this.size();
      case "revindex":
        return this.size() - this.#index0;
      case "revindex0":
        return this.size() - this.#index0 - 1;
      case "depth":
        return this.#depth0 + 1;
      case "depth0":
        return this.#depth0;
      case "previtem":
        return orNone(this.#index0 === 0 ? undefined : this.#before, "previous");
      case "nextitem":
        return orNone(this.#peek(), "next");
      case "cycle":
        return new Callable(name, (_, args) => this.#cycle(args));
      case "changed":
        return new Callable(name, (run, args) => this.#changed(run, args));
      default:
        return undefined;
    }
  }

  #cycle({ positional }: Arguments): Value {
    if (positional.length === 0) fail("no items for cycling given");
    return positional[this.#index0 % positional.length]!;
  }

  #changed(run: Run, { positional }: Arguments): boolean {
    const value = new Tuple(positional);
    if (this.#lastChanged !== undefined && equals(run, this.#lastChanged, value)) return false;
    this.#lastChanged = value;
    return true;
  }

  override call(run: Run, { positional, named }: Arguments): Value {
    const [items] = positional;
    if (this.#recurse === undefined) {
      fail("The loop must have the 'recursive' marker to be called recursively.");
    }
    if (items === undefined || positional.length > 1 || named.size > 0) {
      fail("loop() takes exactly one argument");
    }
    return run.nested(() => this.#recurse!(items, this.#depth0 + 1));
  }

  override repr(): string {
    return `<LoopContext ${this.#index0 + 1}/${this.size()}>`;
  }
}
