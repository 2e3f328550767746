/**
 * The headers of csrc/, as much of C as they use.
 *
 * @module
 */

/** `#define HEARTH_X 1`. */
export interface Constant {
  readonly name: string;
  readonly value: number;
  /** The comment before it, as one line; empty: none. */
  readonly doc: string;
}

/** One `enum { ... }`, its enumerators in order. */
export type Enumeration = readonly { readonly name: string; readonly value: number }[];

/** `uint64_t shape[2]`: its count is 2; of a scalar it is undefined. */
export interface StructField {
  readonly name: string;
  readonly type: string;
  readonly count: number | undefined;
}

export interface CStruct {
  readonly name: string;
  readonly doc: string;
  readonly fields: readonly StructField[];
}

/** A parameter or result, such as `const uint8_t*`. */
export interface Parameter {
  readonly name: string;
  readonly type: string;
}

export interface Prototype {
  readonly name: string;
  readonly result: string;
  readonly parameters: readonly Parameter[];
}

export interface Header {
  readonly constants: readonly Constant[];
  readonly enumerations: readonly Enumeration[];
  readonly structs: readonly CStruct[];
  readonly prototypes: readonly Prototype[];
}

/** A header of csrc/ by its file name. */
export function readHeader(name: string): Header {
  return parseHeader(Deno.readTextFileSync(new URL(`../csrc/${name}`, import.meta.url)));
}

export function parseHeader(text: string): Header {
  const code = withoutComments(text);
  return {
    constants: constantsOf(text),
    enumerations: enumerationsOf(code),
    structs: structsOf(text),
    prototypes: prototypesOf(code),
  };
}

/** A doc comment that the next thing may stand right behind. */
const DOC = String.raw`(?:/\*\*((?:(?!\*/)[\s\S])*)\*/\n)?`;

function constantsOf(text: string): Constant[] {
  const pattern = new RegExp(DOC + String.raw`#define (HEARTH_\w+) (-?\d+)\b`, "g");
  return [...text.matchAll(pattern)].map(([, doc, name, value]) => ({
    name: name!,
    value: Number(value),
    doc: oneLine(doc),
  }));
}

function enumerationsOf(code: string): Enumeration[] {
  return [...code.matchAll(/\benum \{([^}]*)\}/g)].map(([, body]) =>
    [...body!.matchAll(/(\w+)\s*=\s*(-?\d+)/g)]
      .map(([, name, value]) => ({ name: name!, value: Number(value) }))
  );
}

function structsOf(text: string): CStruct[] {
  const pattern = new RegExp(DOC + String.raw`typedef struct (\w+) \{([\s\S]*?)\n\} \2;`, "g");
  return [...text.matchAll(pattern)].map(([, doc, name, body]) => ({
    name: name!,
    doc: oneLine(doc),
    fields: [...withoutComments(body!).matchAll(/(\w+) (\w+)(?:\[(\d+)\])?;/g)]
      .map(([, type, field, count]) => ({
        type: type!,
        name: field!,
        count: count === undefined ? undefined : Number(count),
      })),
  }));
}

function prototypesOf(code: string): Prototype[] {
  const pattern = /HEARTH_API\s+([\w\s*]+?)(\w+)\(([^)]*)\)\s*;/g;
  return [...code.matchAll(pattern)].map(([, result, name, parameters]) => ({
    name: name!,
    result: spaced(result!),
    parameters: parameters!.trim() === "void" ? [] : parameters!.split(",").map((parameter) => {
      const [, type, name] = /^([\s\S]*?)(\w+)\s*$/.exec(parameter)!;
      return { type: spaced(type!), name: name! };
    }),
  }));
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*/g, "");
}

/** `const  uint8_t *` becomes `const uint8_t*`. */
function spaced(type: string): string {
  return type.replace(/\s*\*\s*/g, "*").replace(/\s+/g, " ").trim();
}

function oneLine(doc: string | undefined): string {
  return (doc ?? "").replace(/\n\s*\*/g, " ").replace(/\s+/g, " ").trim();
}
