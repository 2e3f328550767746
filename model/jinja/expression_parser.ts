/**
 * Expressions: from tokens to a tree. The order of operators is jinja2's.
 *
 * @module
 */
import type { CallArguments, Expression } from "./ast.ts";
import { failAt, type Token, type TokenType } from "./lexer.ts";
import type { BinaryOperator, Comparison } from "./operators.ts";
import { isStr } from "./text.ts";

const CONSTANTS: ReadonlyMap<string, boolean | null> = new Map([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", null],
  ["None", null],
]);

const COMPARISONS: ReadonlySet<string> = new Set(["==", "!=", "<", "<=", ">", ">="]);

/** Parentheses, brackets and the like nested deeper than this are refused. */
const MAX_NESTED = 200;

/** How a list of expressions without brackets is read. */
interface TupleOptions {
  /** Whether `a if b` may stand in it. */
  readonly withConditional?: boolean;
  /** Names that end it. */
  readonly ends?: readonly string[];
  /** In parentheses it may be empty. */
  readonly inParentheses?: boolean;
}

/** Goes through tokens, and reads expressions from them. */
export class ExpressionParser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  /** @param tokens the last of which is the end */
  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  /** The token that comes next. */
  get current(): Token {
    return this.#tokens[this.#at]!;
  }

  /** The one behind it. */
  look(): Token {
    return this.#tokens[Math.min(this.#at + 1, this.#tokens.length - 1)]!;
  }

  /** Goes on by one, and returns what was next. */
  next(): Token {
    const token = this.current;
    if (token.type !== "eof") this.#at++;
    return token;
  }

  /** Whether an operator comes next. */
  is(operator: string): boolean {
    return this.current.type === "operator" && this.current.text === operator;
  }

  /** Goes past an operator where it comes next. */
  skip(operator: string): boolean {
    const isNext = this.is(operator);
    if (isNext) this.#at++;
    return isNext;
  }

  /** Goes past an operator that must come next. */
  expect(operator: string): void {
    if (!this.skip(operator)) this.#fail(operator);
  }

  /** Goes past a name where it comes next. */
  skipName(name: string): boolean {
    const isNext = this.#isName(name);
    if (isNext) this.#at++;
    return isNext;
  }

  /** Goes past a name that must come next. */
  expectName(name: string): void {
    if (!this.skipName(name)) this.#fail(name);
  }

  /** Goes past a token that must be of a type. */
  expectType(type: TokenType): Token {
    return this.current.type === type ? this.next() : this.#fail(describeType(type));
  }

  /** A name that can be given a value. */
  name(): Token {
    const token = this.expectType("name");
    if (CONSTANTS.has(token.text)) failAt(token.line, "can't assign to 'const'");
    return token;
  }

  #isName(name: string): boolean {
    return this.current.type === "name" && this.current.text === name;
  }

  #fail(expected: string): never {
    const { type, line } = this.current;
    failAt(
      line,
      type === "eof"
        ? `unexpected end of template, expected '${expected}'.`
        : `expected token '${expected}', got '${describe(this.current)}'`,
    );
  }

  /** What a `set`, a `for` or a `with` gives a value to. */
  target(ends: readonly string[], withAttribute = false): Expression {
    const { line } = this.current;
    const target = this.#list(() => this.#primary(withAttribute), { ends });
    return asTarget(target, line);
  }

  /** Expressions with commas between, or one alone. */
  tuple(options: TupleOptions = {}): Expression {
    const { withConditional = true } = options;
    return this.#list(() => withConditional ? this.expression() : this.#or(), options);
  }

  #list(read: () => Expression, { ends = [], inParentheses = false }: TupleOptions): Expression {
    const { line } = this.current;
    const items: Expression[] = [];
    let isTuple = false;
    while (true) {
      if (items.length > 0) this.expect(",");
      if (this.#isTupleEnd(ends)) break;
      items.push(read());
      if (!this.is(",")) break;
      isTuple = true;
    }
    if (!isTuple) {
      if (items[0] !== undefined) return items[0];
      if (!inParentheses) {
        failAt(this.current.line, `Expected an expression, got '${describe(this.current)}'`);
      }
    }
    return { kind: "tuple", items, line };
  }

  #isTupleEnd(ends: readonly string[]): boolean {
    const { type, text } = this.current;
    return type === "variable_end" || type === "block_end" || this.is(")") ||
      (type === "name" && ends.includes(text));
  }

  /** One expression. */
  expression(): Expression {
    if (++this.#depth > MAX_NESTED) {
      failAt(this.current.line, `expressions must be nested at most ${MAX_NESTED} deep`);
    }
    const { line } = this.current;
    let expression = this.#or();
    while (this.skipName("if")) {
      const test = this.#or();
      const otherwise = this.skipName("else") ? this.expression() : undefined;
      expression = { kind: "conditional", test, then: expression, otherwise, line };
    }
    this.#depth--;
    return expression;
  }

  #or(): Expression {
    const { line } = this.current;
    let left = this.#and();
    while (this.skipName("or")) {
      left = { kind: "logical", operator: "or", left, right: this.#and(), line };
    }
    return left;
  }

  #and(): Expression {
    const { line } = this.current;
    let left = this.#not();
    while (this.skipName("and")) {
      left = { kind: "logical", operator: "and", left, right: this.#not(), line };
    }
    return left;
  }

  #not(): Expression {
    const { line } = this.current;
    if (this.skipName("not")) return { kind: "unary", operator: "not", value: this.#not(), line };
    return this.#compare();
  }

  #compare(): Expression {
    const { line } = this.current;
    const first = this.#sum();
    const rest: { operator: Comparison; value: Expression }[] = [];
    while (true) {
      const operator = this.#comparison();
      if (operator === undefined) break;
      rest.push({ operator, value: this.#sum() });
    }
    return rest.length === 0 ? first : { kind: "compare", first, rest, line };
  }

  #comparison(): Comparison | undefined {
    if (this.current.type === "operator" && COMPARISONS.has(this.current.text)) {
      return this.next().text as Comparison;
    }
    if (this.skipName("in")) return "in";
    if (!this.#isName("not") || this.look().type !== "name" || this.look().text !== "in") {
      return undefined;
    }
    this.next();
    this.next();
    return "not in";
  }

  #sum(): Expression {
    return this.#binary(["+", "-"], () => this.#concat());
  }

  #concat(): Expression {
    const { line } = this.current;
    const parts = [this.#product()];
    while (this.skip("~")) parts.push(this.#product());
    return parts.length === 1 ? parts[0]! : { kind: "concat", parts, line };
  }

  #product(): Expression {
    return this.#binary(["*", "/", "//", "%"], () => this.#power());
  }

  #power(): Expression {
    return this.#binary(["**"], () => this.#unary(true));
  }

  /** Operators of one rank, from the left. */
  #binary(operators: readonly BinaryOperator[], operand: () => Expression): Expression {
    const { line } = this.current;
    let left = operand();
    while (true) {
      const operator = operators.find((operator) => this.is(operator));
      if (operator === undefined) return left;
      this.next();
      left = { kind: "binary", operator, left, right: operand(), line };
    }
  }

  #unary(withFilter: boolean): Expression {
    const { line } = this.current;
    let expression: Expression;
    if (this.is("-") || this.is("+")) {
      const operator = this.next().text as "-" | "+";
      expression = { kind: "unary", operator, value: this.#unary(false), line };
    } else expression = this.#primary(false);
    expression = this.#postfix(expression);
    return withFilter ? this.#filtersAndTests(expression) : expression;
  }

  /** A name, a literal, or what stands in brackets. */
  #primary(withAttribute: boolean): Expression {
    const token = this.current;
    const { line, text } = token;
    if (token.type === "name") {
      this.next();
      const constant = CONSTANTS.get(text);
      if (constant !== undefined) return { kind: "constant", value: constant, line };
      if (withAttribute && this.skip(".")) {
        const attribute = this.expectType("name").text;
        return { kind: "attributeTarget", name: text, attribute, line };
      }
      return { kind: "name", name: text, use: "load", line };
    }
    if (token.type === "string") {
      let value = "";
      while (this.current.type === "string") value += this.next().text;
      return { kind: "constant", value, line };
    }
    if (token.type === "number") return { kind: "constant", value: this.next().value, line };
    if (this.skip("(")) {
      const expression = this.tuple({ inParentheses: true });
      this.expect(")");
      return expression;
    }
    if (this.skip("[")) return { kind: "list", items: this.#items("]"), line };
    if (this.skip("{")) return this.#dict(line);
    return failAt(line, `unexpected '${describe(token)}'`);
  }

  #items(end: string): Expression[] {
    const items: Expression[] = [];
    while (!this.is(end)) {
      if (items.length > 0) this.expect(",");
      if (this.is(end)) break;
      items.push(this.expression());
    }
    this.expect(end);
    return items;
  }

  #dict(line: number): Expression {
    const entries: [Expression, Expression][] = [];
    while (!this.is("}")) {
      if (entries.length > 0) this.expect(",");
      if (this.is("}")) break;
      const key = this.expression();
      this.expect(":");
      entries.push([key, this.expression()]);
    }
    this.expect("}");
    return { kind: "dict", entries, line };
  }

  #postfix(expression: Expression): Expression {
    let value = expression;
    while (true) {
      const { line } = this.current;
      if (this.skip(".")) value = this.#attribute(value, line);
      else if (this.skip("[")) value = this.#subscript(value, line);
      else if (this.is("(")) {
        value = { kind: "call", callee: value, call: this.#callArguments(), line };
      } else return value;
    }
  }

  #attribute(value: Expression, line: number): Expression {
    const token = this.next();
    if (token.type === "name") return { kind: "attribute", value, name: token.text, line };
    if (token.type !== "number" || typeof token.value !== "number") {
      failAt(token.line, "expected name or number");
    }
    return { kind: "item", value, key: { kind: "constant", value: token.value, line }, line };
  }

  #subscript(value: Expression, line: number): Expression {
    const keys: Expression[] = [];
    while (!this.is("]")) {
      if (keys.length > 0) this.expect(",");
      keys.push(this.#key());
    }
    this.expect("]");
    if (keys.length === 1) return { kind: "item", value, key: keys[0]!, line };
    if (keys.some(({ kind }) => kind === "slice")) {
      failAt(line, "invalid syntax: a slice in a tuple");
    }
    return { kind: "item", value, key: { kind: "tuple", items: keys, line }, line };
  }

  /** What stands in brackets behind a value: an expression or a slice. */
  #key(): Expression {
    const { line } = this.current;
    const isPartEnd = () => this.is(":") || this.is("]") || this.is(",");
    const start = this.is(":") ? undefined : this.expression();
    if (start !== undefined && !this.is(":")) return start;
    this.expect(":");
    const stop = isPartEnd() ? undefined : this.expression();
    const step = this.skip(":") && !isPartEnd() ? this.expression() : undefined;
    return { kind: "slice", start, stop, step, line };
  }

  #callArguments(): CallArguments {
    const { line } = this.current;
    const args: Expression[] = [];
    const kwargs: { key: string; value: Expression }[] = [];
    let dynArgs: Expression | undefined;
    let dynKwargs: Expression | undefined;
    const ensure = (isRight: boolean) => {
      if (!isRight) failAt(line, "invalid syntax for function call expression");
    };
    this.expect("(");
    for (let isFirst = true; !this.is(")"); isFirst = false) {
      if (!isFirst) {
        this.expect(",");
        if (this.is(")")) break;
      }
      if (this.skip("*")) {
        ensure(dynArgs === undefined && dynKwargs === undefined);
        dynArgs = this.expression();
      } else if (this.skip("**")) {
        ensure(dynKwargs === undefined);
        dynKwargs = this.expression();
      } else if (this.#isKeyword()) {
        ensure(dynKwargs === undefined);
        const key = this.next().text;
        this.next();
        if (kwargs.some((other) => other.key === key)) {
          failAt(line, `keyword argument repeated: ${key}`);
        }
        kwargs.push({ key, value: this.expression() });
      } else {
        ensure(dynArgs === undefined && dynKwargs === undefined && kwargs.length === 0);
        args.push(this.expression());
      }
    }
    this.expect(")");
    return { args, kwargs, dynArgs, dynKwargs };
  }

  #isKeyword(): boolean {
    const { type, text } = this.look();
    return this.current.type === "name" && type === "operator" && text === "=";
  }

  #filtersAndTests(expression: Expression): Expression {
    let value = expression;
    while (true) {
      const { line } = this.current;
      if (this.is("|")) value = this.filters(value, false)!;
      else if (this.#isName("is")) value = this.#test(value);
      else if (this.is("(")) {
        value = { kind: "call", callee: value, call: this.#callArguments(), line };
      } else return value;
    }
  }

  /** Filters one behind the other; the first may stand without its bar. */
  filters(expression: Expression | undefined, startsInline: boolean): Expression | undefined {
    let value = expression;
    let isInline = startsInline;
    while (isInline || this.skip("|")) {
      isInline = false;
      const { line } = this.current;
      const name = this.#dottedName();
      const call = this.is("(") ? this.#callArguments() : NO_CALL;
      value = { kind: "filter", name, value, call, line };
    }
    return value;
  }

  #dottedName(): string {
    let name = this.expectType("name").text;
    while (this.skip(".")) name += `.${this.expectType("name").text}`;
    return name;
  }

  #test(value: Expression): Expression {
    const { line } = this.next();
    const isNegated = this.skipName("not");
    const name = this.#dottedName();
    let call = NO_CALL;
    if (this.is("(")) call = this.#callArguments();
    else if (this.#isTestArgument()) {
      if (this.#isName("is")) failAt(this.current.line, "You cannot chain multiple tests with is");
      call = { ...NO_CALL, args: [this.#postfix(this.#primary(false))] };
    }
    const test: Expression = { kind: "test", name, value, call, line };
    return isNegated ? { kind: "unary", operator: "not", value: test, line } : test;
  }

  /** `is divisibleby 3` */
  #isTestArgument(): boolean {
    const { type, text } = this.current;
    if (type === "name") return text !== "else" && text !== "or" && text !== "and";
    return type === "string" || type === "number" || this.is("[") || this.is("{");
  }
}

const NO_CALL: CallArguments = { args: [], kwargs: [], dynArgs: undefined, dynKwargs: undefined };

/** The names in a target are given values. */
function asTarget(target: Expression, line: number): Expression {
  if (target.kind === "name") return { ...target, use: "store" };
  if (target.kind === "attributeTarget") return target;
  if (target.kind === "tuple") {
    return { ...target, items: target.items.map((item) => asTarget(item, line)) };
  }
  const kind = target.kind === "constant" && isStr(target.value) ? "const" : target.kind;
  return failAt(line, `can't assign to '${kind}'`);
}

const TYPES: Readonly<Partial<Record<TokenType, string>>> = {
  block_begin: "begin of statement block",
  block_end: "end of statement block",
  variable_begin: "begin of print statement",
  variable_end: "end of print statement",
  data: "template data / text",
  eof: "end of template",
};

function describeType(type: TokenType): string {
  return TYPES[type] ?? type;
}

function describe({ type, text }: Token): string {
  return TYPES[type] ?? text;
}
