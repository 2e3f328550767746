/**
 * Which variable a name means: jinja2's rules (`idtracking.py`), worked out before anything runs.
 *
 * A name that is read before it is set in a scope is that of the scope around it, as it was when the
 * scope was entered; what is set in a loop, a macro or a block does not leave it; an `if` is no scope.
 *
 * @module
 */
import { childrenOf, type Expression, type Node, type Statement, walk } from "./ast.ts";

/** A function of the template: the whole, a macro, a block or a recursive loop; each has its slots. */
export class FunctionScope {
  /** How many variables it has. */
  slots = 0;

  /** @param parent the function in which it stands, whose variables it sees */
  constructor(readonly parent?: FunctionScope) {}

  /** How many functions outwards another one is. */
  distanceTo(outer: FunctionScope): number {
    let distance = 0;
    for (let scope = this as FunctionScope | undefined; scope !== outer; scope = scope?.parent) {
      if (scope === undefined) throw new Error("A variable must be of a function around it");
      distance++;
    }
    return distance;
  }
}

/** Where a variable is kept. */
export interface Slot {
  readonly scope: FunctionScope;
  readonly index: number;
}

/** What a variable begins with when its scope is entered. */
export type Load =
  | { readonly from: "parameter" }
  | { readonly from: "nothing" }
  | { readonly from: "context"; readonly name: string }
  | { readonly from: "outer"; readonly slot: Slot };

/** The names of one scope. */
export class Symbols {
  readonly #parent: Symbols | undefined;
  readonly #function: FunctionScope;
  /** Shared by the branches of an `if`, whose variables are the same. */
  readonly #own: Map<string, Slot>;
  /** Of a branch of an `if`: what was known before it. */
  readonly #before: Symbols | undefined;
  readonly #refs = new Map<string, Slot>();
  readonly #loads = new Map<Slot, Load>();
  readonly #stores = new Set<string>();

  /** @param parent the scope around it; none for what sees no other's variables */
  constructor(scope: FunctionScope, parent?: Symbols, before?: Symbols) {
    this.#function = scope;
    this.#parent = parent;
    this.#before = before;
    this.#own = before === undefined ? new Map() : before.#own;
  }

  /** What each variable begins with, in the order of the names. */
  get loads(): ReadonlyMap<Slot, Load> {
    return this.#loads;
  }

  #define(name: string, load: Load): Slot {
    let slot = this.#own.get(name);
    if (slot === undefined) {
      slot = { scope: this.#function, index: this.#function.slots++ };
      this.#own.set(name, slot);
    }
    this.#refs.set(name, slot);
    this.#loads.set(slot, load);
    return slot;
  }

  /** The variable that a name means here; undefined where nobody spoke of it. */
  find(name: string): Slot | undefined {
    return this.#findOwn(name) ?? this.#parent?.find(name);
  }

  #findOwn(name: string): Slot | undefined {
    const before = this.#before;
    return this.#refs.get(name) ?? (before && before.#findOwn(name));
  }

  #isStored(name: string): boolean {
    const before = this.#before;
    return this.#stores.has(name) || (before !== undefined && before.#isStored(name));
  }

  #store(name: string): void {
    this.#stores.add(name);
    if (this.#findOwn(name) !== undefined) return;
    const outer = this.#parent?.find(name);
    this.#define(name, outer === undefined ? { from: "nothing" } : { from: "outer", slot: outer });
  }

  /** A name that the scope is entered with. */
  declareParameter(name: string): Slot {
    this.#stores.add(name);
    return this.#define(name, { from: "parameter" });
  }

  #load(name: string): void {
    if (this.find(name) === undefined) this.#define(name, { from: "context", name });
  }

  /** What an `if` sets in some branches has, in the others, what it had before. */
  #join(branches: readonly Symbols[]): void {
    const stores = new Set(branches.flatMap((branch) => [...branch.#stores]));
    for (const name of stores) if (this.#isStored(name)) stores.delete(name);
    for (const branch of branches) {
      for (const [name, slot] of branch.#refs) this.#refs.set(name, slot);
      for (const [slot, load] of branch.#loads) this.#loads.set(slot, load);
      for (const name of branch.#stores) this.#stores.add(name);
    }
    for (const name of stores) {
      const outer = this.#parent?.find(name);
      this.#loads.set(
        this.find(name)!,
        outer === undefined ? { from: "context", name } : { from: "outer", slot: outer },
      );
    }
  }

  /** Names set here and around here, the nearest of each: what a scoped block sees. */
  *visibleStores(): Generator<readonly [string, Slot]> {
    for (const name of this.#stores) yield [name, this.find(name)!];
    for (const [name, slot] of this.#parent?.visibleStores() ?? []) {
      if (!this.#stores.has(name)) yield [name, slot];
    }
  }

  /** Takes in names that a loop or the like gives values to. */
  enterTarget(target: Expression): void {
    for (const node of walk(target)) {
      if (node.kind === "name") this.declareParameter(node.name);
    }
  }

  /** Takes in what stands in the scope. */
  enterAll(nodes: readonly Node[]): void {
    for (const node of nodes) this.enter(node);
  }

  /** Takes in a node; what has a scope of its own is not gone into. */
  enter(node: Node): void {
    switch (node.kind) {
      case "name":
        if (node.use === "param") this.declareParameter(node.name);
        else if (node.use === "store") this.#store(node.name);
        else this.#load(node.name);
        break;
      case "attributeTarget":
        this.#load(node.name);
        break;
      case "if": {
        this.enter(node.test);
        const branches = [node.body, node.elifs, node.otherwise].map((nodes) => {
          const branch = new Symbols(this.#function, this.#parent, this);
          branch.enterAll(nodes);
          return branch;
        });
        this.#join(branches);
        break;
      }
      case "set":
        this.enter(node.value);
        this.enter(node.target);
        break;
      case "for":
        this.enter(node.iterable);
        break;
      case "macro":
        this.#store(node.name);
        break;
      case "callBlock":
        this.enter(node.callee);
        break;
      case "filterBlock":
        this.enter(node.filter);
        break;
      case "with":
        this.enterAll(node.values);
        break;
      case "setBlock":
        this.enter(node.target);
        break;
      case "load":
        this.enter(node.template);
        for (const name of node.names) this.#store(name);
        break;
      case "block":
      case "generation":
        break;
      default:
        this.enterAll(childrenOf(node));
    }
  }
}

/** Which of these names the nodes read without having set them; blocks apart. */
export function undeclared(nodes: readonly Statement[], names: readonly string[]): Set<string> {
  const sought = new Set(names);
  const found = new Set<string>();
  const visit = (node: Node): void => {
    if (node.kind === "block") return;
    if (node.kind === "name") {
      if (node.use === "load" && sought.has(node.name)) found.add(node.name);
      else sought.delete(node.name);
    }
    childrenOf(node).forEach(visit);
  };
  nodes.forEach(visit);
  return found;
}
