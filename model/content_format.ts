/**
 * Whether a chat template takes a message's content as a list of parts, by the rule of vLLM's
 * `_detect_content_format`: it does where it loops over the content of a message.
 *
 * @module
 */
import {
  type Expression,
  type ExpressionOf,
  type Node,
  type Statement,
  type StatementOf,
  walk,
} from "./jinja/ast.ts";

type For = StatementOf<"for">;
type Macro = StatementOf<"macro">;

/** Else it takes a text. */
export function takesParts(template: readonly Statement[]): boolean {
  const nodes = template.flatMap((statement) => [...walk(statement)]);
  const messages = [...messageNames(nodes)];
  const isContent = (value: Expression) =>
    messages.some((name) => isAccess(value, (inner) => isItemOf(inner, name, "content")));

  const inMacros = new Map<For, ReadonlySet<string>>();
  for (const macro of nodes.filter((node) => node.kind === "macro")) {
    const names = contentParameters(macro, nodes, isContent);
    for (const node of walk(macro)) if (node.kind === "for") inMacros.set(node, names);
  }
  return loops(nodes).some((loop) => {
    const { iterable, target } = loop;
    // vLLM takes a template that unpacks a content for one that takes texts.
    if (target.kind !== "name") return false;
    if (isContent(iterable)) return true;
    if (iterable.kind !== "name") return false;
    return inMacros.get(loop)?.has(iterable.name) ?? iterable.name === "content";
  });
}

function loops(nodes: readonly Node[]): For[] {
  return nodes.filter((node) => node.kind === "for");
}

/** Names that loops over the messages, or over what was set to them, give a message. */
function messageNames(nodes: readonly Node[]): Set<string> {
  const lists = new Set(["messages"]);
  // A set grows while it is gone through.
  for (const list of lists) {
    for (const node of nodes) {
      if (node.kind !== "set" || node.target.kind !== "name") continue;
      if (isAccess(node.value, (inner) => isName(inner, list))) lists.add(node.target.name);
    }
  }
  const names = new Set<string>();
  for (const { target, iterable } of loops(nodes)) {
    const isOverMessages = isAccess(
      iterable,
      (inner) => inner.kind === "name" && lists.has(inner.name),
    );
    if (isOverMessages && target.kind === "name") names.add(target.name);
  }
  return names;
}

/** Parameters of a macro that some call gives a message's content. */
function contentParameters(
  { name, signature: { parameters } }: Macro,
  nodes: readonly Node[],
  isContent: (value: Expression) => boolean,
): Set<string> {
  const names = parameters.map((parameter) => parameter.name);
  const calls = nodes.filter((node): node is ExpressionOf<"call"> =>
    node.kind === "call" && isName(node.callee, name)
  );
  const given = calls.flatMap(({ call: { args, kwargs } }) => [
    ...names.filter((_, i) => args[i] !== undefined && isContent(args[i])),
    ...kwargs.filter(({ key, value }) => names.includes(key) && isContent(value))
      .map(({ key }) => key),
  ]);
  return new Set(given);
}

/** Whether a value is what `isIt` looks for, or that behind filters, tests and slices. */
function isAccess(value: Expression, isIt: (inner: Expression) => boolean): boolean {
  switch (value.kind) {
    case "filter":
      return value.value !== undefined && isAccess(value.value, isIt);
    case "test":
      return isAccess(value.value, isIt);
    case "item":
      return value.key.kind === "slice" ? isAccess(value.value, isIt) : isIt(value);
    default:
      return isIt(value);
  }
}

function isName(value: Expression, name: string): boolean {
  return value.kind === "name" && value.use === "load" && value.name === name;
}

function isItemOf(value: Expression, name: string, key: string): boolean {
  if (value.kind === "attribute") return value.name === key && isName(value.value, name);
  return value.kind === "item" && value.key.kind === "constant" && value.key.value === key &&
    isName(value.value, name);
}
