/**
 * Every fault of one line that can be put into a file, by its syntax tree.
 *
 * An operator takes a node and says what else could stand there. What cannot matter is left out by
 * its kind: types, imports and exports, names of properties, and text with white space in it, which
 * is a sentence for people. A fault need not type-check: who draws one must look.
 *
 * @module
 */
import ts from "typescript";

/** One change of one line. */
export interface Fault {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly operator: string;
  /** What is replaced, in UTF-16 units of the file. */
  readonly start: number;
  readonly end: number;
  readonly replacement: string;
}

/** What an operator puts in the place of a node, or of a part of it. */
interface Change {
  readonly operator: string;
  readonly start: number;
  readonly end: number;
  readonly replacement: string;
}

const OTHER_OPERATORS: ReadonlyMap<ts.SyntaxKind, string> = new Map([
  [ts.SyntaxKind.LessThanToken, "<="],
  [ts.SyntaxKind.LessThanEqualsToken, "<"],
  [ts.SyntaxKind.GreaterThanToken, ">="],
  [ts.SyntaxKind.GreaterThanEqualsToken, ">"],
  [ts.SyntaxKind.EqualsEqualsEqualsToken, "!=="],
  [ts.SyntaxKind.ExclamationEqualsEqualsToken, "==="],
  [ts.SyntaxKind.AmpersandAmpersandToken, "||"],
  [ts.SyntaxKind.BarBarToken, "&&"],
  [ts.SyntaxKind.PlusToken, "-"],
  [ts.SyntaxKind.MinusToken, "+"],
  [ts.SyntaxKind.AsteriskToken, "/"],
  [ts.SyntaxKind.SlashToken, "*"],
  [ts.SyntaxKind.PercentToken, "*"],
  [ts.SyntaxKind.LessThanLessThanToken, ">>"],
  [ts.SyntaxKind.GreaterThanGreaterThanToken, "<<"],
  [ts.SyntaxKind.GreaterThanGreaterThanGreaterThanToken, "<<"],
  [ts.SyntaxKind.AmpersandToken, "|"],
  [ts.SyntaxKind.BarToken, "&"],
  [ts.SyntaxKind.PlusEqualsToken, "-="],
  [ts.SyntaxKind.MinusEqualsToken, "+="],
]);

const OTHER_METHODS: ReadonlyMap<string, string> = new Map([
  ["some", "every"],
  ["every", "some"],
  ["push", "unshift"],
  ["unshift", "push"],
  ["pop", "shift"],
  ["shift", "pop"],
  ["find", "findLast"],
  ["findLast", "find"],
  ["findIndex", "findLastIndex"],
  ["indexOf", "lastIndexOf"],
  ["lastIndexOf", "indexOf"],
  ["startsWith", "endsWith"],
  ["endsWith", "startsWith"],
  ["padStart", "padEnd"],
  ["padEnd", "padStart"],
  ["trimStart", "trimEnd"],
  ["trimEnd", "trimStart"],
  ["min", "max"],
  ["max", "min"],
  ["floor", "ceil"],
  ["ceil", "floor"],
  ["all", "allSettled"],
  ["then", "catch"],
]);

/** Calls that give what they are called on, changed: without them it stays as it was. */
const CHANGES_OF_RECEIVER: ReadonlySet<string> = new Set([
  "filter",
  "flat",
  "normalize",
  "replace",
  "replaceAll",
  "reverse",
  "slice",
  "sort",
  "subarray",
  "toLowerCase",
  "toReversed",
  "toSorted",
  "toUpperCase",
  "trim",
]);

/** All faults of a file, in the order of its text. */
export function faultsOf(file: string, text: string): Fault[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const lineOf = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1;
  const faults: Fault[] = [];
  const visit = (node: ts.Node): void => {
    if (cannotMatter(node)) return;
    for (const change of changesOf(node)) {
      const line = lineOf(change.start);
      if (lineOf(change.end) === line) faults.push({ file, line, ...change });
    }
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(source, visit);
  return faults.sort((a, b) => a.start - b.start);
}

/** The file with the fault in it. */
export function withFault(text: string, { start, end, replacement }: Fault): string {
  return text.slice(0, start) + replacement + text.slice(end);
}

function cannotMatter(node: ts.Node): boolean {
  if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) {
    return true;
  }
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return true;
  const { parent } = node;
  return ts.isPropertyAssignment(parent) && parent.name === node;
}

function changesOf(node: ts.Node): Change[] {
  return [
    ...changesOfLiteral(node),
    ...changesOfOperator(node),
    ...changesOfCall(node),
    ...changesOfCondition(node),
    ...changesOfStatement(node),
  ];
}

/** The whole node gives way to other text. */
function replaced(operator: string, node: ts.Node, replacement: string): Change {
  return { operator, start: node.getStart(), end: node.end, replacement };
}

function changesOfLiteral(node: ts.Node): Change[] {
  if (ts.isNumericLiteral(node)) {
    return [replaced("number + 1", node, String(Number(node.text) + 1))];
  }
  if (ts.isBigIntLiteral(node)) {
    return [replaced("number + 1", node, `${BigInt(node.text.slice(0, -1)) + 1n}n`)];
  }
  if (ts.isStringLiteralLike(node)) {
    return node.text === "" || /\s/.test(node.text) ? [] : [replaced("text emptied", node, '""')];
  }
  if (node.kind === ts.SyntaxKind.TrueKeyword) return [replaced("true to false", node, "false")];
  if (node.kind === ts.SyntaxKind.FalseKeyword) return [replaced("false to true", node, "true")];
  return [];
}

function changesOfOperator(node: ts.Node): Change[] {
  if (ts.isBinaryExpression(node)) {
    const { left, operatorToken: token, right } = node;
    if (token.kind === ts.SyntaxKind.QuestionQuestionToken) {
      return [
        replaced("?? dropped", node, left.getText()),
        replaced("?? always", node, right.getText()),
      ];
    }
    const other = OTHER_OPERATORS.get(token.kind);
    return other === undefined ? [] : [replaced(`${token.getText()} to ${other}`, token, other)];
  }
  if (ts.isPrefixUnaryExpression(node)) {
    const { operator, operand } = node;
    if (operator === ts.SyntaxKind.ExclamationToken) {
      return [replaced("! dropped", node, operand.getText())];
    }
    if (operator === ts.SyntaxKind.MinusToken) {
      return [replaced("- dropped", node, operand.getText())];
    }
  }
  if (ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) {
    const { operator, operand } = node;
    if (operator === ts.SyntaxKind.PlusPlusToken) {
      return [replaced("++ to --", node, `${operand.getText()}--`)];
    }
    if (operator === ts.SyntaxKind.MinusMinusToken) {
      return [replaced("-- to ++", node, `${operand.getText()}++`)];
    }
  }
  if (node.kind === ts.SyntaxKind.QuestionDotToken) {
    const isBeforeName = ts.isPropertyAccessExpression(node.parent);
    return [replaced("?. dropped", node, isBeforeName ? "!." : "!")];
  }
  return [];
}

function changesOfCall(node: ts.Node): Change[] {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return [];
  const { name, expression: receiver } = node.expression;
  const other = OTHER_METHODS.get(name.text);
  if (other !== undefined) return [replaced(`${name.text}() to ${other}()`, name, other)];
  if (!CHANGES_OF_RECEIVER.has(name.text)) return [];
  const operator = `${name.text}() dropped`;
  return [{ operator, start: receiver.end, end: node.end, replacement: "" }];
}

/** The condition of a branch or a loop turned round, where no other operator does that. */
function changesOfCondition(node: ts.Node): Change[] {
  const { parent } = node;
  const isCondition =
    (ts.isIfStatement(parent) || ts.isWhileStatement(parent) || ts.isDoStatement(parent)) &&
      parent.expression === node ||
    ts.isConditionalExpression(parent) && parent.condition === node;
  if (!isCondition || ts.isPrefixUnaryExpression(node)) return [];
  if (ts.isBinaryExpression(node) && /^[!=]==$/.test(node.operatorToken.getText())) return [];
  return [replaced("condition negated", node, `!(${node.getText()})`)];
}

function changesOfStatement(node: ts.Node): Change[] {
  if (
    ts.isExpressionStatement(node) || ts.isThrowStatement(node) || ts.isReturnStatement(node) ||
    ts.isBreakOrContinueStatement(node)
  ) {
    return [replaced("statement removed", node, ";")];
  }
  // Of a body that is a single statement it would be the same as removing that one.
  if (ts.isBlock(node) && ts.isFunctionLike(node.parent) && node.statements.length > 1) {
    const start = node.getStart() + 1;
    // A condition that the type checker cannot know: it refuses code that is never reached.
    const replacement = " if (globalThis) return;";
    return [{ operator: "return at once", start, end: start, replacement }];
  }
  return [];
}
