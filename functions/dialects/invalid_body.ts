/**
 * From Zod's issue to a sentence with the field, what is allowed and what was sent.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";

type Issue = z.core.$ZodIssue;

/** `param` is written as OpenAI does: `messages[0].role`. */
export function describeIssue(
  issue: Issue,
  body: unknown,
): { readonly message: string; readonly param: string | null } {
  const { inner, path } = innermost(issue, []);
  const value = valueAt(body, path);
  if (inner.code === "unrecognized_keys") {
    const param = paramOf([...path, (inner.keys[0] ?? "").slice(0, 80)]);
    return { message: `Cannot read request: ${param} is not a field of this route`, param };
  }
  if (inner.code === "invalid_key") {
    const param = paramOf(path.slice(0, -1));
    const rule = inner.issues[0]!.message;
    const message = `Cannot read request: ${param} ${rule}: current value is ${show(path.at(-1))}`;
    return { message, param };
  }
  const param = path.length > 0 ? paramOf(path) : null;
  const subject = param ?? "the body";
  if (value === undefined && inner.code !== "custom") {
    return { message: `Cannot read request: ${subject} is missing`, param };
  }
  const found = isCount(inner) && typeof value === "object" && value !== null
    ? `has ${(Array.isArray(value) ? value : Object.keys(value)).length}`
    : `is ${show(value)}`;
  const message = `Cannot read request: ${subject} ${rule(inner)}: current value ${found}`;
  return { message, param };
}

/** The branch of a union that got furthest into the value is the one that the caller meant. */
function innermost(issue: Issue, prefix: PropertyKey[]): { inner: Issue; path: PropertyKey[] } {
  const path = [...prefix, ...issue.path];
  if (issue.code !== "invalid_union") return { inner: issue, path };
  const branches = issue.errors.map((issues) => issues[0]).filter((first) => first !== undefined);
  const deepest = branches.map((first) => innermost(first, path))
    .sort((a, b) =>
      isUnread(b.inner) - isUnread(a.inner) || b.path.length - a.path.length ||
      rightType(b.inner) - rightType(a.inner)
    )[0];
  const fits = deepest !== undefined &&
    (deepest.path.length > path.length || rightType(deepest.inner) === 1);
  return fits ? deepest : { inner: issue, path };
}

function isCount({ code }: Issue): boolean {
  return code === "too_big" || code === "too_small";
}

/** 1 where a list is so long that none of its items was looked at. */
function isUnread(issue: Issue): 0 | 1 {
  return issue.code === "too_big" && issue.origin === "array" ? 1 : 0;
}

/** 1 where the type is the right one and something else is wrong. */
function rightType({ code }: Issue): 0 | 1 {
  return code === "invalid_type" || code === "invalid_union" ? 0 : 1;
}

function rule(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return `must be ${article(issue.expected)}`;
    case "too_small":
      return bound(issue.origin, issue.inclusive === false ? ">" : ">=", issue.minimum, "at least");
    case "too_big":
      return bound(issue.origin, issue.inclusive === false ? "<" : "<=", issue.maximum, "at most");
    case "invalid_value":
      return `must be ${issue.values.map((value) => JSON.stringify(value)).join(" or ")}`;
    case "invalid_union":
      return issue.message === "Invalid input" ? "has a wrong type" : issue.message;
    case "invalid_format":
      return issue.message;
    default:
      return issue.message;
  }
}

function bound(origin: string, sign: string, limit: number | bigint, words: string): string {
  const plural = Number(limit) === 1 ? "" : "s";
  if (origin === "string") return `must have ${words} ${limit} character${plural}`;
  if (origin === "array" || origin === "record") return `must have ${words} ${limit} item${plural}`;
  return `must be ${sign} ${limit}`;
}

function article(type: string): string {
  if (type === "int") return "an integer";
  if (type === "record") return "an object";
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}

function paramOf(path: readonly PropertyKey[]): string {
  return path.map((key, i) =>
    typeof key === "number" ? `[${key}]` : `${i > 0 ? "." : ""}${String(key)}`
  ).join("");
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (value as Record<PropertyKey, unknown> | null | undefined)?.[key],
    body,
  );
}

/** A value, cut so that an answer never repeats a whole prompt; what nests only by its kind. */
function show(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = typeof value === "bigint" ? String(value) : JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
