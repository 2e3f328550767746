/**
 * Filters that make texts.
 *
 * @module
 */
import { type Arguments, binder, NO_ARGUMENTS } from "./arguments.ts";
import { SPACE } from "./characters.ts";
import { escape, forceEscape, stripTags } from "./escape.ts";
import { count, itemsOf, iterableOf, listOf } from "./items.ts";
import { toJson } from "./json.ts";
import { binary } from "./operators.ts";
import { formatPercent } from "./percent.ts";
import { prettyPrint } from "./pretty.ts";
import { toText } from "./printing.ts";
import { asInt, toIndex } from "./numbers.ts";
import { fail, type Filter, type Run } from "./run.ts";
import { center, replace, splitLines, strippedOf } from "./string_methods.ts";
import { attributeOf } from "./attributes.ts";
import {
  cut,
  isMarkup,
  isStr,
  join,
  mapped,
  marked,
  offsetOf,
  plain,
  type Str,
  unmarked,
  Writer,
} from "./text.ts";
import { Dict, isTrue, textOf, Tuple, typeName, Undefined, type Value } from "./values.ts";
import { attributeGetter } from "./attribute_path.ts";
import { filter } from "./filter.ts";
import { urlize } from "./urlize.ts";
import { wrapLine } from "./wrap.ts";

/** Calls a method of a string as jinja2 does, which keeps markup markup. */
function viaMethod(name: string): Filter {
  return (run, value, args) => {
    binder(name, "")(args);
    const text = toText(run, value);
    const method = attributeOf(run, text, name) as { call(run: Run, args: Arguments): Value };
    return method.call(run, NO_ARGUMENTS);
  };
}

/** Keeps markup markup. */
function like(value: Str, result: Str): Str {
  return isMarkup(value) ? marked(result) : result;
}

const WORD = new RegExp(`[^-${SPACE}({[<]+`, "g");

/** Each word's first character in upper case, the rest small: jinja2's own idea of a title. */
function jinjaTitle(text: string): string {
  return text.replace(WORD, (word) => {
    const first = String.fromCodePoint(word.codePointAt(0)!);
    return first.toUpperCase() + word.slice(first.length).toLowerCase();
  });
}

function truncate(run: Run, value: Value, [length, killWords, end, leeway]: Value[]): Value {
  const limit = toIndex(length!, "length");
  const tail = isStr(end!) ? end : fail("end must be str");
  const tailLength = count(run, tail);
  const slack = leeway === null ? 5 : toIndex(leeway!, "leeway");
  if (limit < tailLength) fail(`expected length >= ${tailLength}, got ${limit}`);
  if (slack < 0) fail(`expected leeway >= 0, got ${slack}`);
  if (count(run, value) <= limit + slack) return value;
  if (!isStr(value)) fail(`cannot truncate a ${typeName(value)}`);
  const text = plain(value);
  const cutAt = offsetOf(text, limit - tailLength);
  const space = isTrue(killWords!) ? -1 : text.slice(0, cutAt).lastIndexOf(" ");
  return binary(run, "+", like(value, cut(value, 0, space < 0 ? cutAt : space)), tail);
}

function indent(run: Run, value: Value, [width, first, blank]: Value[]): Value {
  if (value instanceof Undefined) value.fail();
  if (!isStr(value)) fail(`cannot indent a ${typeName(value)}`);
  const by: Str = isStr(width!) ? width : spaces(run, toIndex(width!, "width"));
  const lines = splitLines(run, join(run, [value, "\n"]));
  const writer = new Writer(run);
  for (const [i, line] of lines.entries()) {
    if (i > 0) writer.write("\n");
    const isIndented = i === 0 ? isTrue(first!) : isTrue(blank!) || plain(line) !== "";
    if (isIndented) writer.write(by);
    writer.write(line);
  }
  return like(value, writer.finish());
}

function spaces(run: Run, width: number): string {
  run.make(Math.max(0, width));
  return " ".repeat(Math.max(0, width));
}

function quoteUrl(text: string, isQuery: boolean): string {
  const quoted = encodeURIComponent(text.toWellFormed())
    .replace(/[!'()*]/g, (unit) => `%${unit.charCodeAt(0).toString(16).toUpperCase()}`);
  return isQuery ? quoted.replaceAll("%20", "+") : quoted.replaceAll("%2F", "/");
}

function urlEncode(run: Run, value: Value): Value {
  const quote = (item: Value, isQuery: boolean) =>
    mapped(run, toText(run, item), (text) => quoteUrl(text, isQuery));
  if (isStr(value) || iterableOf(run, value) === undefined) return quote(value, false);
  const pairs = value instanceof Dict ? [...value.entries()] : listOf(run, value).map((item) => {
    const pair = listOf(run, item);
    return pair.length === 2 ? pair : fail("urlencode takes pairs of key and value");
  });
  return join(
    run,
    pairs.map(([key, item]) => join(run, [quote(key!, true), "=", quote(item!, true)])),
    "&",
  );
}

function xmlAttributes(run: Run, value: Value, [autospace]: Value[]): Value {
  if (value instanceof Undefined) value.fail();
  if (!(value instanceof Dict)) fail(`'${typeName(value)}' object has no attribute 'items'`);
  const parts: Str[] = [];
  for (const [key, item] of value.entries()) {
    if (item === null || item instanceof Undefined) continue;
    const name = textOf(key, "an attribute's name");
    if (/[\t-\r />=]/.test(name)) fail(`Invalid character in attribute name: '${name}'`);
    parts.push(
      join(run, [unmarked(escape(run, key)), '="', unmarked(escape(run, item)), '"']),
    );
  }
  const text = join(run, parts, " ");
  return isTrue(autospace!) && plain(text) !== "" ? join(run, [" ", text]) : text;
}

function json(run: Run, value: Value, args: Value[]): Value {
  const [ascii, indentation, separators, sortKeys] = args as [Value, Value, Value, Value];
  const indent = indentation === null
    ? undefined
    : isStr(indentation)
    ? indentation
    : spaces(run, Number(asInt(indentation) ?? fail("indent must be int or str")));
  const [item, key] = separators === null
    ? [indent === undefined ? ", " : ",", ": "]
    : listOf(run, separators);
  if (item === undefined || key === undefined || !isStr(item) || !isStr(key)) {
    fail("separators must be a pair of texts");
  }
  return toJson(run, value, {
    ensureAscii: isTrue(ascii),
    indent,
    itemSeparator: item,
    keySeparator: key,
    sortKeys: isTrue(sortKeys),
  });
}

function links(run: Run, value: Value, args: Value[]): Value {
  const [limit, nofollow, target, rel, extraSchemes] = args as [Value, Value, Value, Value, Value];
  const rels = new Set(
    rel === null ? [] : textOf(rel, "rel").split(/ +/).filter((one) => one !== ""),
  );
  if (isTrue(nofollow)) rels.add("nofollow");
  rels.add("noopener");
  const schemes = extraSchemes === null
    ? []
    : listOf(run, extraSchemes).map((scheme) => textOf(scheme, "a scheme"));
  for (const scheme of schemes) {
    if (!/^[\p{L}\p{N}_.+-]{2,}:\/{0,2}$/u.test(scheme)) {
      fail(`'${scheme}' is not a valid URI scheme prefix.`);
    }
  }
  return urlize(run, value, {
    limit: limit === null ? undefined : toIndex(limit, "trim_url_limit"),
    rel: [...rels].sort().join(" "),
    target: target === null ? "" : textOf(target, "target"),
    madeOf: [rel, target].filter(isStr),
    schemes,
  });
}

function wordWrap(run: Run, value: Value, args: Value[]): Value {
  const [width, breakLong, wrapString, breakOnHyphens] = args as [Value, Value, Value, Value];
  if (value instanceof Undefined) value.fail();
  if (!isStr(value)) fail(`cannot wrap a ${typeName(value)}`);
  const between = wrapString === null
    ? "\n"
    : isStr(wrapString)
    ? wrapString
    : fail("wrapstring must be str");
  const options = {
    width: toIndex(width, "width"),
    breakLongWords: isTrue(breakLong),
    breakOnHyphens: isTrue(breakOnHyphens),
  };
  const lines = splitLines(run, value).map((line) =>
    join(run, wrapLine(run, line, options), between)
  );
  return join(run, lines, between);
}

/** By name. */
export const TEXT_FILTERS: Readonly<Record<string, Filter>> = {
  capitalize: viaMethod("capitalize"),
  center: filter("center", "width=80", (run, value, [width]) => {
    const text = toText(run, value);
    return like(text, center(run, unmarked(text), toIndex(width!, "width")));
  }),
  e: filter("escape", "", (run, value) => escape(run, value)),
  escape: filter("escape", "", (run, value) => escape(run, value)),
  forceescape: filter("forceescape", "", (run, value) => forceEscape(run, value)),
  format: (run, value, { positional, named }) => {
    if (positional.length > 0 && named.size > 0) {
      fail("can't handle positional and keyword arguments at the same time");
    }
    const values = named.size > 0 ? new Dict(named) : new Tuple(positional);
    return formatPercent(run, toText(run, value), values);
  },
  indent: filter("indent", "width=4, first=False, blank=False", indent),
  join: filter("join", "d='', attribute=None", (run, value, [d, attribute]) => {
    const get = attribute === null ? undefined : attributeGetter(run, attribute!);
    const parts: Str[] = [];
    for (const item of itemsOf(run, value)) {
      run.makeItems(1);
      parts.push(unmarked(toText(run, get === undefined ? item : get(item))));
    }
    return join(run, parts, unmarked(toText(run, d!)));
  }),
  lower: viaMethod("lower"),
  pprint: filter("pprint", "", (run, value) => prettyPrint(run, value)),
  replace: filter("replace", "old, new, count=None", (run, value, [old, by, limit]) => {
    const [text, wanted, other] = [value, old!, by!].map((item) => unmarked(toText(run, item)));
    const most = limit === null ? -1 : toIndex(limit!, "count");
    return replace(run, text!, wanted!, other!, most);
  }),
  safe: filter("safe", "", (run, value) => marked(toText(run, value))),
  string: filter("string", "", (run, value) => toText(run, value)),
  striptags: filter("striptags", "", (run, value) => stripTags(run, toText(run, value))),
  title: filter("title", "", (run, value) => {
    return mapped(run, unmarked(toText(run, value)), jinjaTitle);
  }),
  tojson: filter(
    "tojson",
    "ensure_ascii=False, indent=None, separators=None, sort_keys=False",
    json,
  ),
  trim: filter("trim", "chars=None", (run, value, [chars]) => {
    const text = toText(run, value);
    return like(text, strippedOf(run, text, chars!, "both"));
  }),
  truncate: filter("truncate", "length=255, killwords=False, end='...', leeway=None", truncate),
  upper: viaMethod("upper"),
  urlencode: filter("urlencode", "", urlEncode),
  urlize: filter(
    "urlize",
    "trim_url_limit=None, nofollow=False, target=None, rel=None, extra_schemes=None",
    links,
  ),
  wordcount: filter("wordcount", "", (run, value) => {
    const text = plain(toText(run, value));
    run.examine(text);
    const word = /[\p{L}\p{N}_]+/gu;
    let count = 0;
    while (word.test(text)) count++;
    return count;
  }),
  wordwrap: filter(
    "wordwrap",
    "width=79, break_long_words=True, wrapstring=None, break_on_hyphens=True",
    wordWrap,
  ),
  xmlattr: filter("xmlattr", "autospace=True", xmlAttributes),
};
