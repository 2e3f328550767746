/**
 * An option or a field of a request, said once. Tables of such entries (`engine_options.ts`,
 * `request_fields.ts`, the server's own) make types, checks, values in C's structs, schemas, flags and
 * the lists of documents; `docs/decisions/0012-one-table-of-fields.md` says who makes what.
 *
 * @module
 */

/** What a number may be. */
export interface Bounds {
  readonly min?: number;
  readonly above?: number;
  readonly max?: number;
}

/** What an entry holds. */
export type FieldKind =
  | ({ readonly kind: "number" } & Bounds)
  /** At most what 32 bits hold where nothing is said. */
  | { readonly kind: "integer"; readonly min: number; readonly max?: number }
  | { readonly kind: "bytes"; readonly min: number }
  | { readonly kind: "seconds"; readonly min: number; readonly max: number }
  /** A part of a whole, above 0. */
  | { readonly kind: "share" }
  | {
    readonly kind: "choice";
    readonly choices: readonly (string | number)[];
    /** In C, by choice; numbers are sent as they are. */
    readonly codes?: Readonly<Record<string, number>>;
  }
  /** A choice of which some forms have a number in them: `cuda:N`. */
  | { readonly kind: "name"; readonly forms: readonly string[]; readonly pattern: RegExp }
  /** In C 1 is the opposite of the default, as 0 is the default of everything there. */
  | { readonly kind: "switch" }
  | { readonly kind: "text"; readonly value?: string }
  | {
    readonly kind: "texts";
    readonly value?: string;
    /** What each must be, in words for who gave another; a secret is not shown to them. */
    readonly each?: { readonly pattern: RegExp; readonly rule: string; readonly secret?: boolean };
  }
  /** Said on the command line alone, as `--help` is. */
  | { readonly kind: "action" }
  | { readonly kind: "seed" }
  /** Lists of tokens, of words in tokens, of tokens with what is added to their logits. */
  | { readonly kind: "tokens" }
  | { readonly kind: "words" }
  | { readonly kind: "biases"; readonly min: number; readonly max: number }
  /** JSON of a form that the reader of the field does not look into. */
  | { readonly kind: "object" }
  | { readonly kind: "objects" };

/** Whatever its kind. Names are those of the table unless it says others. */
interface FieldDetails {
  /** What holds where nothing is said. */
  readonly default?: unknown;
  /** How the default reads, where no value says it. */
  readonly shown?: string;
  /** Its name in C, if it differs by more than case; null: C has no scalar that is the same. */
  readonly inC?: string | null;
  /** Its flag, if it differs by more than case; null: none. */
  readonly flag?: string | null;
  /**
   * In the JSON of requests: a name that differs by more than case, bounds that differ (a number that
   * is allowed only there means the default); null: each route has a field of its own for it.
   */
  readonly wire?: { readonly name?: string; readonly min?: number; readonly max?: number } | null;
}

/** One entry. */
export type Field = FieldKind & FieldDetails & { readonly doc: string };

/**
 * An entry, its type as narrow as what is written.
 *
 * @param doc one line without a full stop; other entries are named in backticks
 */
export function entry<const F extends FieldKind & FieldDetails>(
  field: F,
  doc: string,
): F & { readonly doc: string } {
  return { ...field, doc };
}

/** Entries by their name in TypeScript. */
export type Fields = Readonly<Record<string, Field>>;

/** What holds where nothing is said, of the entries that have a value for it. */
export function defaultsOf(fields: Fields): unknown {
  return Object.fromEntries(
    Object.entries(fields).filter(([, field]) => field.default !== undefined)
      .map(([name, field]) => [name, field.default]),
  );
}

/** Of a number, and whether it is a whole one. */
export function boundsOf(
  field: FieldKind & { kind: "number" | "integer" | "bytes" },
): Bounds & { readonly whole: boolean } {
  switch (field.kind) {
    case "number":
      return { ...field, whole: false };
    case "integer":
      return { max: 0xffff_ffff, ...field, whole: true };
    case "bytes":
      return { ...field, max: Number.MAX_SAFE_INTEGER, whole: true };
  }
}

/** `max_tokens` of `maxTokens`, as a type. */
export type SnakeCase<S extends string> = S extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${SnakeCase<Rest>}`
  : S;

/** `max_tokens` of `maxTokens`. */
export function snakeCase<S extends string>(name: S): SnakeCase<S> {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) as SnakeCase<S>;
}

/** A name in the JSON of requests; what the table does not know differs by case alone. */
export function wireName(name: string, fields: Fields): string {
  return fields[name]?.wire?.name ?? snakeCase(name);
}

/** `text [default]`, other entries by the names that the reader knows. */
export function describeField(
  { doc, default: value, shown = value === undefined ? undefined : String(value) }: Field,
  rename: (name: string) => string,
): string {
  const text = shown === undefined ? doc : `${doc} [${shown}]`;
  return text.replace(/`(\w+)`/g, (_, name) => rename(name));
}
