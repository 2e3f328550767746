/**
 * Statements: from tokens to a template's tree.
 *
 * @module
 */
import type { Expression, ExpressionOf, Signature, Statement, StatementOf } from "./ast.ts";
import { ExpressionParser } from "./expression_parser.ts";
import { failAt, type Token, tokenize } from "./lexer.ts";

/** Tags nested deeper than this are refused; so is Python's own code that jinja2 makes of them. */
const MAX_NESTED_TAGS = 90;

/**
 * The tree of a template.
 *
 * @throws {TemplateError} with the line, where it is no template
 */
export function parse(template: string): Statement[] {
  return new Parser(tokenize(template)).template();
}

class Parser extends ExpressionParser {
  /** Tags that are open, from the outermost. */
  readonly #open: string[] = [];

  template(): Statement[] {
    return this.#statements([]);
  }

  /** Up to one of the tags that end it, which stays the next token; or to the template's end. */
  #statements(ends: readonly string[]): Statement[] {
    const body: Statement[] = [];
    let output: Expression[] = [];
    const flush = () => {
      if (output.length > 0) body.push({ kind: "output", parts: output, line: output[0]!.line });
      output = [];
    };
    while (this.current.type !== "eof") {
      const token = this.next();
      if (token.type === "data") output.push({ kind: "data", text: token.text, line: token.line });
      else if (token.type === "variable_begin") {
        output.push(this.tuple());
        this.expectType("variable_end");
      } else {
        flush();
        if (this.current.type === "name" && ends.includes(this.current.text)) return body;
        body.push(this.#statement(ends));
        this.expectType("block_end");
      }
    }
    flush();
    if (ends.length > 0) this.#failEnd(ends);
    return body;
  }

  #failEnd(ends: readonly string[]): never {
    failAt(
      this.current.line,
      `Unexpected end of template. Jinja was looking for the following tags: ${
        ends.map((tag) => `'${tag}'`).join(" or ")
      }. The innermost block that needs to be closed is '${this.#open.at(-1)}'.`,
    );
  }

  #statement(ends: readonly string[]): Statement {
    const tag = this.next();
    if (tag.type !== "name") failAt(tag.line, "tag name expected");
    this.#open.push(tag.text);
    if (this.#open.length > MAX_NESTED_TAGS) {
      failAt(tag.line, `tags must be nested at most ${MAX_NESTED_TAGS} deep`);
    }
    const statement = this.#byTag(tag, ends);
    this.#open.pop();
    return statement;
  }

  #byTag(tag: Token, ends: readonly string[]): Statement {
    const { line, text } = tag;
    switch (text) {
      case "for":
        return this.#for(line);
      case "if":
        return this.#if(line);
      case "set":
        return this.#set(line);
      case "print":
        return this.#print(line);
      case "macro": {
        const name = this.name().text;
        const signature = this.#signature();
        return { kind: "macro", name, signature, body: this.#body("endmacro"), line };
      }
      case "call":
        return this.#call(line);
      case "filter": {
        const filter = this.filters(undefined, true) as ExpressionOf<"filter">;
        return { kind: "filterBlock", filter, body: this.#body("endfilter"), line };
      }
      case "with":
        return this.#with(line);
      case "block":
        return this.#block(line);
      case "generation":
        return { kind: "generation", body: this.#body("endgeneration"), line };
      case "include":
      case "import":
      case "from":
      case "extends":
        return this.#load(tag);
      case "break":
      case "continue":
        return { kind: text, line };
      case "autoescape":
        return failAt(line, "the tag autoescape is not supported");
      default: {
        const sought = ends.map((end) => `'${end}'`).join(" or ");
        const hint = sought === "" ? "" : ` Jinja was looking for the following tags: ${sought}.`;
        return failAt(line, `Encountered unknown tag '${text}'.${hint}`);
      }
    }
  }

  /** What a tag holds, up to the tag that ends it. */
  #body(...ends: string[]): Statement[] {
    this.skip(":");
    this.expectType("block_end");
    const body = this.#statements(ends);
    if (ends.length === 1) this.next();
    return body;
  }

  #for(line: number): Statement {
    const target = this.target(["in"]);
    this.expectName("in");
    const iterable = this.tuple({ withConditional: false, ends: ["recursive"] });
    const test = this.skipName("if") ? this.expression() : undefined;
    const isRecursive = this.skipName("recursive");
    const body = this.#body("endfor", "else");
    const otherwise = this.next().text === "endfor" ? [] : this.#body("endfor");
    return { kind: "for", target, iterable, body, otherwise, test, isRecursive, line };
  }

  #if(line: number): StatementOf<"if"> {
    const test = this.tuple({ withConditional: false });
    const body = this.#body("elif", "else", "endif");
    const elifs: StatementOf<"if">[] = [];
    while (true) {
      const { text, line: elifLine } = this.next();
      if (text === "elif") {
        const test = this.tuple({ withConditional: false });
        const body = this.#body("elif", "else", "endif");
        elifs.push({ kind: "if", test, body, elifs: [], otherwise: [], line: elifLine });
        continue;
      }
      const otherwise = text === "else" ? this.#body("endif") : [];
      return { kind: "if", test, body, elifs, otherwise, line };
    }
  }

  #set(line: number): Statement {
    const target = this.target([], true);
    if (this.skip("=")) return { kind: "set", target, value: this.tuple(), line };
    const filter = this.filters(undefined, false) as ExpressionOf<"filter"> | undefined;
    return { kind: "setBlock", target, filter, body: this.#body("endset"), line };
  }

  #print(line: number): Statement {
    const parts: Expression[] = [];
    while (this.current.type !== "block_end") {
      if (parts.length > 0) this.expect(",");
      parts.push(this.expression());
    }
    return { kind: "output", parts, line };
  }

  #signature(): Signature {
    const parameters: ExpressionOf<"name">[] = [];
    const defaults: Expression[] = [];
    this.expect("(");
    while (!this.is(")")) {
      if (parameters.length > 0) this.expect(",");
      const { text, line } = this.name();
      parameters.push({ kind: "name", name: text, use: "param", line });
      if (this.skip("=")) defaults.push(this.expression());
      else if (defaults.length > 0) {
        failAt(this.current.line, "non-default argument follows default argument");
      }
    }
    this.expect(")");
    return { parameters, defaults };
  }

  #call(line: number): Statement {
    const signature = this.is("(") ? this.#signature() : { parameters: [], defaults: [] };
    const callee = this.expression();
    if (callee.kind !== "call") failAt(line, "expected call");
    if (callee.call.kwargs.some(({ key }) => key === "caller")) {
      failAt(line, "keyword argument repeated: caller");
    }
    return { kind: "callBlock", callee, signature, body: this.#body("endcall"), line };
  }

  #with(line: number): Statement {
    const targets: Expression[] = [];
    const values: Expression[] = [];
    while (this.current.type !== "block_end") {
      if (targets.length > 0) this.expect(",");
      targets.push(asParameter(this.target([])));
      this.expect("=");
      values.push(this.expression());
    }
    return { kind: "with", targets, values, body: this.#body("endwith"), line };
  }

  #block(line: number): Statement {
    const name = this.expectType("name").text;
    const isScoped = this.skipName("scoped");
    const isRequired = this.skipName("required");
    const body = this.#body("endblock");
    const isBlank = body.every((node) =>
      node.kind === "output" &&
      node.parts.every((part) => part.kind === "data" && part.text.trim() === "")
    );
    if (isRequired && !isBlank) {
      failAt(line, "Required blocks can only contain comments or whitespace");
    }
    this.skipName(name);
    return { kind: "block", name, body, isScoped, isRequired, line };
  }

  #load({ text: tag, line }: Token): Statement {
    const template = this.expression();
    const names: string[] = [];
    if (tag === "include" && this.skipName("ignore")) this.expectName("missing");
    if (tag === "import") {
      this.expectName("as");
      names.push(this.name().text);
    }
    if (tag === "from") {
      this.expectName("import");
      do {
        if (this.#skipContext()) break;
        const name = this.name();
        if (name.text.startsWith("_")) {
          failAt(name.line, "names starting with an underline can not be imported");
        }
        names.push(this.skipName("as") ? this.name().text : name.text);
      } while (this.skip(","));
    }
    if (tag !== "extends") this.#skipContext();
    return { kind: "load", tag, template, names, line };
  }

  #skipContext(): boolean {
    const { type, text } = this.current;
    if (type !== "name" || (text !== "with" && text !== "without")) return false;
    if (this.look().text !== "context") return false;
    this.next();
    this.next();
    return true;
  }
}

/** A `with` gives its names values as a macro's parameters get theirs. */
function asParameter(target: Expression): Expression {
  if (target.kind === "name") return { ...target, use: "param" };
  return target.kind === "tuple" ? { ...target, items: target.items.map(asParameter) } : target;
}
