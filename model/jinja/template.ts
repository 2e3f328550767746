/**
 * Templates of jinja2, set up as Transformers sets up chat templates, and rendered as it does.
 *
 * @module
 */
import type { Statement } from "./ast.ts";
import { BUILTINS } from "./builtins.ts";
import { compile, type Template as Compiled } from "./compile.ts";
import { Context } from "./frame.ts";
import { GLOBALS } from "./globals.ts";
import { parse } from "./parser.ts";
import { type Budget, fail, Run, TemplateError } from "./run.ts";
import { plain, type TextSpan } from "./text.ts";
import type { Value } from "./values.ts";

export type { TextOrigin, TextSpan } from "./text.ts";

/** A rendered text, and which of its characters came with the variables. */
export interface RenderedText {
  /** All of it. */
  readonly text: string;
  /** In order; all between them is the template's own. */
  readonly spans: readonly TextSpan[];
}

/** How a template is rendered. */
export interface RenderOptions {
  readonly budget: Budget;
  /** The time that the template is told. */
  readonly now: Date;
}

/** A template, parsed once, rendered often. */
export class Template {
  /** What it consists of. */
  readonly statements: readonly Statement[];
  readonly #compiled: Compiled;

  /** @throws {TemplateError} where it is no template */
  constructor(source: string) {
    const statements = guarded(() => parse(source));
    this.statements = statements;
    this.#compiled = guarded(() => compile(statements, BUILTINS));
  }

  /**
   * Its text with these variables.
   *
   * @throws {TemplateError} where the template refuses, does what jinja2 does not allow, asks for what is
   * not supported here, or is not done within its budget
   */
  render(variables: ReadonlyMap<string, Value>, { budget, now }: RenderOptions): RenderedText {
    const run = new Run(budget, now, BUILTINS);
    const text = guarded(() => this.#compiled(run, new Context(GLOBALS, variables)));
    return { text: plain(text), spans: typeof text === "string" ? [] : text.spans };
  }
}

/** What nests deeper than JavaScript's stack, and what is longer than a string may be, is refused. */
function guarded<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof TemplateError || !(error instanceof RangeError)) throw error;
    return fail("the template is nested too deep, or makes too long a text");
  }
}
