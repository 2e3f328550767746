/**
 * Giving values to names.
 *
 * @module
 */
import { type Expression, walk } from "./ast.ts";
import { holderOf, slotOf } from "./compile_expression.ts";
import type { Scope } from "./compile_scope.ts";
import type { Frame } from "./frame.ts";
import { Namespace } from "./globals.ts";
import { listOf } from "./items.ts";
import { fail } from "./run.ts";
import { typeName, type Value } from "./values.ts";

/** Gives a value to a name, an attribute of a namespace, or several of them. */
export function assigner(target: Expression, scope: Scope): (frame: Frame, value: Value) => void {
  if (target.kind === "name") {
    const { name } = target;
    const { index } = slotOf(name, scope);
    if (!scope.isTop) return ({ slots }, value) => slots[index] = value;
    return ({ slots, context }, value) => {
      slots[index] = value;
      context.set(name, value);
    };
  }
  if (target.kind === "attributeTarget") {
    const slot = slotOf(target.name, scope);
    const holder = holderOf(slot, scope);
    return (frame, value) => {
      // The name may have got another value by the same assignment.
      namespaceOf(holder(frame).slots[slot.index]).set(frame.run, target.attribute, value);
    };
  }
  if (target.kind !== "tuple") throw new Error("A target must be a name or a tuple of names");
  const assigns = target.items.map((item) => assigner(item, scope));
  return (frame, value) => {
    const items = listOf(frame.run, value, `cannot unpack a ${typeName(value)}`);
    if (items.length !== assigns.length) {
      fail(`expected ${assigns.length} values to unpack, got ${items.length}`);
    }
    for (const [i, assign] of assigns.entries()) assign(frame, items[i]!);
  };
}

/** Before a value is worked out, what has attributes set must be a namespace. */
export function namespaceCheck(
  target: Expression,
  scope: Scope,
): (frame: Frame) => void {
  const slots = [...walk(target)].flatMap((node) =>
    node.kind === "attributeTarget" ? [slotOf(node.name, scope)] : []
  );
  const readers = slots.map((slot) => [holderOf(slot, scope), slot.index] as const);
  return (frame) => {
    for (const [holder, index] of readers) {
      namespaceOf(holder(frame).slots[index]);
    }
  };
}

function namespaceOf(value: Value | undefined): Namespace {
  return value instanceof Namespace
    ? value
    : fail("cannot assign attribute on non-namespace object");
}
