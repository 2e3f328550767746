/**
 * The headers of csrc/, as much of C as they use.
 *
 * @module
 */

/** A function's types in C, without parameter names: `const uint8_t *`. */
export interface Prototype {
  readonly name: string;
  readonly result: string;
  readonly parameters: readonly string[];
}

/** A header's text without comments. */
export function readHeader(name: string): string {
  const text = Deno.readTextFileSync(new URL(`../../csrc/${name}`, import.meta.url));
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*/g, "");
}

/** Every function that the header exports. */
export function prototypesOf(header: string): Prototype[] {
  const pattern = /HEARTH_API\s+([\w\s*]+?)(\w+)\(([^)]*)\)\s*;/g;
  return [...header.matchAll(pattern)].map(([, result, name, parameters]) => ({
    name: name!,
    result: normalize(result!),
    parameters: parameters!.trim() === "void"
      ? []
      : parameters!.split(",").map((parameter) => normalize(parameter.replace(/\w+\s*$/, ""))),
  }));
}

/** Field names of every struct that the header defines, by the struct's name. */
export function structsOf(header: string): Map<string, string[]> {
  const pattern = /typedef struct (\w+) \{([^}]*)\}/g;
  return new Map([...header.matchAll(pattern)].map(([, name, body]) => [
    name!,
    [...body!.matchAll(/(\w+)(?:\[\w+\])?;/g)].map(([, field]) => field!),
  ]));
}

/** Every enumerator that the header defines. */
export function enumeratorsOf(header: string): string[] {
  return [...header.matchAll(/enum \{([^}]*)\}/g)].flatMap(([, body]) =>
    [...body!.matchAll(/(HEARTH_\w+)\s*=/g)].map(([, name]) => name!)
  );
}

function normalize(type: string): string {
  return type.replace(/\s*\*\s*/g, "*").replace(/\s+/g, " ").trim();
}
