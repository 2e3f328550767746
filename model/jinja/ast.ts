/**
 * A template as a tree, its nodes those of jinja2.
 *
 * @module
 */
import type { BinaryOperator, Comparison } from "./operators.ts";
import type { Value } from "./values.ts";

/** The line that a node begins in, from 1. */
interface At {
  readonly line: number;
}

/** Arguments of a call, a filter or a test. */
export interface CallArguments {
  readonly args: readonly Expression[];
  readonly kwargs: readonly { readonly key: string; readonly value: Expression }[];
  /** `*args` */
  readonly dynArgs: Expression | undefined;
  /** `**kwargs` */
  readonly dynKwargs: Expression | undefined;
}

/** What has a value. */
export type Expression =
  & At
  & (
    | { readonly kind: "name"; readonly name: string; readonly use: "load" | "store" | "param" }
    | { readonly kind: "attributeTarget"; readonly name: string; readonly attribute: string }
    | { readonly kind: "constant"; readonly value: Value }
    | { readonly kind: "data"; readonly text: string }
    | { readonly kind: "tuple"; readonly items: readonly Expression[] }
    | { readonly kind: "list"; readonly items: readonly Expression[] }
    | {
      readonly kind: "dict";
      readonly entries: readonly (readonly [key: Expression, value: Expression])[];
    }
    | {
      readonly kind: "conditional";
      readonly test: Expression;
      readonly then: Expression;
      readonly otherwise: Expression | undefined;
    }
    | {
      readonly kind: "filter";
      readonly name: string;
      /** Undefined in a filter block, which filters what it holds. */
      readonly value: Expression | undefined;
      readonly call: CallArguments;
    }
    | {
      readonly kind: "test";
      readonly name: string;
      readonly value: Expression;
      readonly call: CallArguments;
    }
    | { readonly kind: "call"; readonly callee: Expression; readonly call: CallArguments }
    | { readonly kind: "item"; readonly value: Expression; readonly key: Expression }
    | { readonly kind: "attribute"; readonly value: Expression; readonly name: string }
    | {
      readonly kind: "slice";
      readonly start: Expression | undefined;
      readonly stop: Expression | undefined;
      readonly step: Expression | undefined;
    }
    | { readonly kind: "concat"; readonly parts: readonly Expression[] }
    | {
      readonly kind: "compare";
      readonly first: Expression;
      readonly rest: readonly { readonly operator: Comparison; readonly value: Expression }[];
    }
    | {
      readonly kind: "binary";
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
    | {
      readonly kind: "logical";
      readonly operator: "and" | "or";
      readonly left: Expression;
      readonly right: Expression;
    }
    | {
      readonly kind: "unary";
      readonly operator: "-" | "+" | "not";
      readonly value: Expression;
    }
  );

/** One kind of expression. */
export type ExpressionOf<Kind extends Expression["kind"]> = Extract<Expression, { kind: Kind }>;

/** Parameters of a macro or a call block, the last of them with defaults. */
export interface Signature {
  readonly parameters: readonly ExpressionOf<"name">[];
  readonly defaults: readonly Expression[];
}

/** What does something. */
export type Statement =
  & At
  & (
    | { readonly kind: "output"; readonly parts: readonly Expression[] }
    | {
      readonly kind: "for";
      readonly target: Expression;
      readonly iterable: Expression;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
      readonly test: Expression | undefined;
      readonly isRecursive: boolean;
    }
    | {
      readonly kind: "if";
      readonly test: Expression;
      readonly body: readonly Statement[];
      readonly elifs: readonly StatementOf<"if">[];
      readonly otherwise: readonly Statement[];
    }
    | {
      readonly kind: "macro";
      readonly name: string;
      readonly signature: Signature;
      readonly body: readonly Statement[];
    }
    | {
      readonly kind: "callBlock";
      readonly callee: ExpressionOf<"call">;
      readonly signature: Signature;
      readonly body: readonly Statement[];
    }
    /** Transformers' `{% generation %}`: a call block whose function gives what it holds. */
    | { readonly kind: "generation"; readonly body: readonly Statement[] }
    | {
      readonly kind: "filterBlock";
      readonly filter: ExpressionOf<"filter">;
      readonly body: readonly Statement[];
    }
    | {
      readonly kind: "with";
      readonly targets: readonly Expression[];
      readonly values: readonly Expression[];
      readonly body: readonly Statement[];
    }
    | {
      readonly kind: "block";
      readonly name: string;
      readonly body: readonly Statement[];
      readonly isScoped: boolean;
      readonly isRequired: boolean;
    }
    | { readonly kind: "set"; readonly target: Expression; readonly value: Expression }
    | {
      readonly kind: "setBlock";
      readonly target: Expression;
      readonly filter: ExpressionOf<"filter"> | undefined;
      readonly body: readonly Statement[];
    }
    /** `include`, `import`, `from` and `extends`, which find no other template. */
    | {
      readonly kind: "load";
      readonly tag: string;
      readonly template: Expression;
      readonly names: readonly string[];
    }
    | { readonly kind: "break" }
    | { readonly kind: "continue" }
  );

/** One kind of statement. */
export type StatementOf<Kind extends string> = Extract<Statement, { kind: Kind }>;

/** Any node. */
export type Node = Expression | Statement;

function ofCall({ args, kwargs, dynArgs, dynKwargs }: CallArguments): (Expression | undefined)[] {
  return [...args, ...kwargs.map(({ value }) => value), dynArgs, dynKwargs];
}

function ofSignature({ parameters, defaults }: Signature): Expression[] {
  return [...parameters, ...defaults];
}

/** The nodes right below one, in the order in which jinja2 visits them. */
export function childrenOf(node: Node): Node[] {
  return listChildren(node).filter((child) => child !== undefined);
}

function listChildren(node: Node): (Node | undefined)[] {
  switch (node.kind) {
    case "name":
    case "attributeTarget":
    case "constant":
    case "data":
    case "break":
    case "continue":
      return [];
    case "tuple":
    case "list":
      return [...node.items];
    case "dict":
      return node.entries.flat();
    case "conditional":
      return [node.test, node.then, node.otherwise];
    case "filter":
    case "test":
      return [node.value, ...ofCall(node.call)];
    case "call":
      return [node.callee, ...ofCall(node.call)];
    case "item":
      return [node.value, node.key];
    case "attribute":
    case "unary":
      return [node.value];
    case "slice":
      return [node.start, node.stop, node.step];
    case "concat":
    case "output":
      return [...node.parts];
    case "compare":
      return [node.first, ...node.rest.map(({ value }) => value)];
    case "binary":
    case "logical":
      return [node.left, node.right];
    case "for":
      return [node.target, node.iterable, ...node.body, ...node.otherwise, node.test];
    case "if":
      return [node.test, ...node.body, ...node.elifs, ...node.otherwise];
    case "macro":
      return [...ofSignature(node.signature), ...node.body];
    case "callBlock":
      return [node.callee, ...ofSignature(node.signature), ...node.body];
    case "filterBlock":
      return [...node.body, node.filter];
    case "with":
      return [...node.targets, ...node.values, ...node.body];
    case "block":
    case "generation":
      return [...node.body];
    case "set":
      return [node.target, node.value];
    case "setBlock":
      return [node.target, node.filter, ...node.body];
    case "load":
      return [node.template];
  }
}

/** A node and all below it, however deep. */
export function* walk(node: Node): Generator<Node> {
  const found = [node];
  for (const next of found) {
    yield next;
    found.push(...childrenOf(next));
  }
}
