"""Templates of a line or two that ask for everything there is: usage: snippets.py > snippets.json

Each is written with what jinja2 (reference.py) makes of it. Beside those below are draws of
random_snippets.py, of which those that print addresses are left out.
"""
import json
import sys

from random_snippets import VARIABLES, expressions, statements
from reference import render

# Filters and tests: {{ VALUE | FILTER }}, for each value.
FILTERS = {
    "abs": ["-3", "2.5", "true", "'x'"], "attr('a')": ["d"], "attr('nothing')": ["s"],
    "batch(2) | list": ["l", "s", "undef"], "batch(2, 'f') | list": ["l"], "batch(0) | list": ["l"],
    "capitalize": ["s", "'ÀÉ ÎO'", "'ßx'", "none", "''"], "center(9)": ["'ab'", "'abc'", "undef"], "center": ["'x'"],
    "count": ["l"], "d('x')": ["undef", "none", "''"], "default('x')": ["undef", "none", "false"],
    "default('x', true)": ["undef", "none", "''", "0", "s"], "dictsort": ["dd"], "dictsort(true)": ["dd"],
    "dictsort(false, 'value')": ["dd"], "dictsort(reverse=true)": ["dd"], "dictsort(by='nothing')": ["dd"],
    "e": ["tag", "'\\'\"&'", "1"], "escape": ["tag | safe"], "forceescape": ["tag | safe", "tag | e"],
    "filesizeformat": ["0", "1", "999", "1000", "1500000", "10 ** 24", "10 ** 30", "-5"],
    "filesizeformat(true)": ["1023", "1024", "1536000"], "first": ["l", "s", "el", "d"],
    "float": ["'1.5'", "' 2e3 '", "'x'", "none", "'inf'", "'1_0.5'", "7", "true"], "float(9)": ["'x'"], "float(1.5)": ["'x'"],
    "format('a', 1)": ["'%s-%03d'"], "format(a=1)": ["'%(a)s'"], "format(1, a=1)": ["'%s'"],
    "groupby('role')": ["msgs"], "groupby('x', default='-')": ["msgs"], "groupby('role', case_sensitive=true)": ["msgs"],
    "groupby('role') | map(attribute='grouper') | list": ["msgs"], "groupby('n') | map('last') | list": ["msgs"],
    "indent": ["lines", "''"], "indent(2, true)": ["lines"], "indent('> ', blank=true)": ["lines"], "indent(first=true)": ["'a'"],
    "int": ["'42'", "' -7 '", "'4.9'", "'x'", "none", "3.99", "-3.99", "true", "'1_000'", "'0x1f'", "[]"],
    "int(5)": ["'x'", "none"], "int(base=16)": ["'1f'", "'0x1F'"], "int(0, 2)": ["'0b101'", "'102'"], "int(base=0)": ["'0o17'", "'017'"],
    "items | list": ["d", "undef"], "join": ["l", "s", "d", "undef"], "join(', ')": ["l", "mix"], "join('-', attribute='role')": ["msgs"],
    "last": ["l", "s", "el", "d", "range(3)"], "length": ["l", "u", "d", "range(5)", "undef", "none", "3"],
    "list": ["s", "d", "u", "undef", "none", "(1, 2)"], "lower": ["'ÀΣ'", "'İ'", "none", "true"],
    "map('upper') | list": ["ls", "none"], "map(attribute='role') | list": ["msgs"], "map(attribute='x', default='-') | list": ["msgs"],
    "map(attribute='a.b') | list": ["[nested]"], "map('replace', 'a', 'b') | list": ["ls"], "map('nothing') | list": ["ls", "el"], "map | list": ["ls"],
    "max": ["l", "ls", "el"], "max(attribute='n')": ["msgs"], "min": ["l", "ls"], "min(case_sensitive=true)": ["ls"],
    "pprint": ["l", "s", "msgs", "dd", "'word ' * 30", "{'text': 'word ' * 30, 'lines': lines * 9, 1: 2, none: [l] * 20}", "range(60) | list", "('x' * 90,)"], "reject | list": ["mix"], "reject('odd') | list": ["l"], "rejectattr('x') | list": ["msgs"], "rejectattr('role', 'eq', 'user') | list": ["msgs"],
    "replace('l', 'L')": ["s"], "replace('l', 'L', 1)": ["s"], "replace('', '-')": ["'ab'"], "replace(1, 2)": ["11"], "replace('a', undef)": ["'aba'"],
    "reverse": ["s", "u"], "reverse | list": ["l", "d", "range(3)"],
    "round": ["2.5", "3.5", "-2.5", "2", "0.5"], "round(1)": ["0.25", "0.35", "2.675"], "round(2, 'ceil')": ["1.001"], "round(2, 'floor')": ["1.009", "7"], "round(-2)": ["1250", "1350", "1234.5"], "round(0, 'x')": ["1"],
    "safe": ["tag"], "select | list": ["mix"], "select('gt', 1) | list": ["l"], "select('string') | list": ["mix"], "select('in', [1, 2]) | list": ["l"], "select('nothing') | list": ["l"],
    "selectattr('x') | list": ["msgs"], "selectattr('role', 'equalto', 'user') | list": ["msgs", "none"], "selectattr('x', 'defined') | list | length": ["msgs"], "selectattr | list": ["msgs"],
    "slice(2) | list": ["l", "s"], "slice(4, 'f') | list": ["l"], "sort": ["ls", "l", "mix", "d"], "sort(true)": ["l"], "sort(case_sensitive=true)": ["ls"], "sort(attribute='role,n')": ["msgs"],
    "string": ["1", "1.0", "none", "l"], "striptags": ["tag", "'a<!-- b -->c &lt;&#39;'"], "sum": ["l", "el", "ls"], "sum(attribute='n')": ["msgs"], "sum(start=1.5)": ["l"],
    "title": ["'hello wORLD-x (y'", "\"it's\""], "tojson": ["d", "u", "mix", "msgs", "1.0", "1e20", "true", "none", "undef", "{1: 2, none: 3, true: 4, 1.5: 5}", "(1, 2)", "'\\x7f\\x1f/'", "range(2)", "{(1, 2): 3}"],
    "tojson(indent=2)": ["msgs", "[]", "{}", "[[], {}]"], "tojson(indent=0)": ["[1]"], "tojson(indent='\\t')": ["[1]"], "tojson(separators=(',', ':'))": ["d"], "tojson(sort_keys=true)": ["dd", "{1: 2, 'a': 3}"], "tojson(true)": ["u"], "tojson(ensure_ascii=true)": ["u"],
    "trim": ["ws", "none", "3"], "trim('Hd')": ["s"], "trim('')": ["s"], "truncate(9)": ["'foo bar baz qux'"], "truncate(9, true)": ["'foo bar baz qux'"], "truncate(11)": ["'foo bar baz qux'"], "truncate(11, False, '...', 0)": ["'foo bar baz qux'"], "truncate(2)": ["'foo bar baz qux'"],
    "unique | list": ["['a', 'A', 'b', 1, 1.0, true]"], "unique(true) | list": ["['a', 'A', 'b']"], "unique(attribute='role') | list": ["msgs"], "upper": ["'ß'", "'ﬁ'", "u", "none"],
    "urlencode": ["path", "{'a b': 'c/d', 'e': 1}", "[('a', 'b')]", "u", "3"], "wordcount": ["s", "'a-b c_d é'"], "wordwrap(5)": ["'hello wonderful world'"], "wordwrap(5, false)": ["'hello wonderful world'"], "wordwrap(8, wrapstring='|')": ["lines"], "wordwrap(6, break_on_hyphens=false)": ["'a-b-c-d e-f'"], "wordwrap(4)": ["'a-b-c-d e-f'"],
    "urlize": ["'see http://a.b/c?d=e&f, (www.x.org) me@x.io <https://y.com/(z)> mailto:a@b.cd x.com 1.2'", "none"], "urlize(8, true)": ["'http://example.com/long'"],
    "urlize(target='_blank', rel='a b')": ["'www.x.org'"], "urlize(extra_schemes=['tel:'])": ["'tel:1 ftp://x'"], "urlize(extra_schemes=['!'])": ["'x'"],
    "xmlattr": ["{'a': 1, 'b': none, 'c': '<'}", "{}", "{'a b': 1}"], "xmlattr(false)": ["{'a': 1}"], "upper(1)": ["s"], "nothing": ["s"],
}
TESTS = {
    "boolean": ["true", "1"], "callable": ["range", "s", "undef", "s.upper"], "defined": ["undef", "s", "d.nothing"], "divisibleby 3": ["9", "10"], "divisibleby(0)": ["9"],
    "eq 1": ["1", "true", "1.0", "'1'"], "equalto('a')": ["'a'"], "== 1": ["1"], "escaped": ["s", "s | e"], "even": ["2", "3", "2.0"], "false": ["false", "0"], "filter": ["'upper'", "'nothing'", "1"], "float": ["1.0", "1"], "ge 2": ["2"], "gt 2": ["2", "3"], "greaterthan(1)": ["2"], "in [1, 2]": ["1", "'1'"], "in 'abc'": ["'b'", "1"], "integer": ["1", "true", "1.0", "10 ** 30"], "iterable": ["s", "l", "3", "undef", "none"], "le 2": ["2"], "lower": ["'ab'", "'aB'", "''", "1"], "lt 2": ["1"], "lessthan(1)": ["2"], "mapping": ["d", "l"], "ne 1": ["1", "2"], "none": ["none", "undef", "0"], "number": ["1", "1.5", "true", "'1'"], "odd": ["3", "-1", "2.0", "'x'"], "sameas none": ["none", "undef"], "sameas true": ["1", "true"], "sequence": ["s", "l", "d", "range(2)", "3", "d.items()"], "string": ["s", "s | e", "1"], "test": ["'odd'", "'x'"], "true": ["true", "1"], "undefined": ["undef", "none"], "upper": ["'AB'", "'A1'", "'1'"], "not none": ["none", "1"], "not defined": ["undef"], "nothing": ["1"],
}
METHODS = {
    "s": ["capitalize()", "casefold()", "center(20, '*')", "count('l')", "count('l', 3)", "count('')", "endswith('ld')", "endswith(('x', 'd'))", "endswith('')", "expandtabs(4)", "find('o')", "find('o', 5)", "find('o', -3, -1)", "find('z')", "index('z')", "index('W')", "isalnum()", "isalpha()", "isascii()", "isdecimal()", "isdigit()", "isidentifier()", "islower()", "isnumeric()", "isprintable()", "isspace()", "istitle()", "isupper()", "join(['a', 'b'])", "join('ab')", "join([1])", "ljust(15)", "ljust(15, '.')", "lower()", "lstrip('Hel')", "partition(', ')", "partition('z')", "removeprefix('He')", "removesuffix('ld')", "replace('l', 'L')", "replace('l', 'L', 1)", "rfind('o')", "rindex('o')", "rjust(15, '.')", "rpartition('o')", "rsplit('o', 1)", "rsplit()", "rstrip('dl')", "split()", "split('l')", "split('l', 1)", "split(sep='l', maxsplit=2)", "split('')", "split(1)", "splitlines()", "startswith('He')", "startswith('l', 2)", "startswith(('x', 'H'))", "startswith(['H'])", "strip('Hd')", "strip(none)", "strip(1)", "swapcase()", "title()", "upper()", "zfill(15)", "zfill()", "nothing()", "__class__", "_private", "format", "encode()", "upper(1)"],
    "u": ["upper()", "lower()", "title()", "swapcase()", "isalpha()", "isprintable()", "center(12, '😀')", "find('x')", "split('😀')", "isascii()", "casefold()"],
    "ws": ["strip()", "lstrip()", "rstrip()", "split()", "isspace()", "splitlines()"],
    "lines": ["splitlines()", "splitlines(true)", "splitlines(keepends=false)", "split('\\n')"],
    "'²½٣五Ⅷ'": ["isdigit()", "isdecimal()", "isnumeric()", "isalnum()"], "'²'": ["isdigit()", "isdecimal()"], "'½'": ["isdigit()", "isnumeric()"], "'٣'": ["isdecimal()"], "'五'": ["isnumeric()", "isalpha()"],
    "'ßﬁςıꭰİ'": ["casefold()", "swapcase()"], "'-42'": ["zfill(6)", "lstrip('-')"], "'ǆ ßx ﬁ ᾳ'": ["title()", "capitalize()", "upper()"], "'ΑΣ ΑΣΑ'": ["lower()", "title()", "capitalize()"],
    "d": ["get('a')", "get('zz')", "get('zz', 1)", "get('zz', default=1)", "items()", "keys()", "values()", "items", "copy()", "pop('a')", "update({})", "clear()", "setdefault('a')", "a", "zz", "items()|list", "get([])"],
    "l": ["count(1)", "index(2)", "index(9)", "index(1, 2)", "copy()", "append(1)", "sort()", "reverse()", "0", "9"],
    "(1, 2)": ["count(1)", "index(2)"], "range(3)": ["start", "stop", "step", "count(1)", "index(2)"], "i": ["real", "imag", "bit_length()", "numerator", "denominator"], "fl": ["is_integer()", "real"],
    "msgs[0]": ["role", "content | upper", "nothing", "nothing.deeper", "items() | list"], "undef": ["x", "x()", "__class__"], "none": ["x", "x.y"],
}
OTHERS = r"""
{{ 1 + 1.0 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ -7.5 % 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 0.5 }}
{{ 2 ** 100 }} {{ 10 ** 20 // 7 }} {{ -(2 ** 70) % 1000 }} {{ 2 ** 63 - 1 }} {{ 9007199254740993 }} {{ 1e400 }} {{ true + true }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ 1.0 // 0 }}
{{ 'a' + 1 }}
{{ 'a' * 3 }} {{ [1] * 2 }} {{ 'a' * -1 }}| {{ (1,) * 2 }} {{ 'a' * 1.0 }}
{{ [1] + [2] }} {{ (1,) + (2,) }}
{{ [1] + (2,) }}
{{ 1e16 }} {{ 1e15 }} {{ 1e-4 }} {{ 1e-5 }} {{ 0.1 + 0.2 }} {{ 1e22 }} {{ 123456789012345680.0 }} {{ -0.0 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }}
{{ 0b11 }} {{ 0o17 }} {{ 0xff }} {{ 1_000 }} {{ 1_0.5 }} {{ 1.5e3 }} {{ 1E3 }}
{{ 'a' ~ 1 ~ none ~ 2.0 ~ undef ~ [1] }}
{{ 'a' 'b' "c" }}
{{ 'a\tb\\\'\x41\u00e9\U0001F600\101\q' }}
{{ "it's" }} {{ ["it's", 'say "x"', "both ' and \"", '\n\t\\', 'é\u200b\x7f\xad'] }}
{{ [1, 2.0, none, true, 'a', (1,), (), {}, {'a': [1]}, undef] }}
{{ 1 == 1.0 }} {{ 1 == true }} {{ '' == false }} {{ 0 == '' }} {{ none == false }} {{ [1] == [1.0] }} {{ (1,) == [1] }} {{ {'a': 1} == {'a': true} }} {{ 'a' == 'a' }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 3 > 2 == 2 }} {{ 'a' < 'b' }} {{ 'Z' < 'a' }} {{ [1, 2] < [1, 3] }} {{ (1,) < (1, 0) }} {{ '\uffff' < '😀' }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ [1] < (2,) }}
{{ 'a' in 'abc' }} {{ 1 in [1, 2] }} {{ 'a' in d }} {{ 1 not in [1] }} {{ '' in '' }} {{ 2 in range(3) }} {{ 5 in range(0, 10, 2) }} {{ 'x' in d.values() }}
{{ 1 in 'abc' }}
{{ 1 in 5 }}
{{ not 0 }} {{ not [] }} {{ not undef }} {{ not '' }} {{ not 0.0 }} {{ not {} }} {{ not range(0) }} {{ not 'a' }}
{{ 0 or 'x' }} {{ '' or none }} {{ 1 and 2 }} {{ 0 and x }} {{ none or undef or 'z' }}
{{ 'y' if true else 'n' }} {{ 'y' if false }}| {{ ('a' if false) is defined }} {{ 1 if 0 else 2 if 0 else 3 }}
{{ ('a' if false).x }}
{{ l[0] }} {{ l[-1] }} {{ l[9] }}| {{ l['a'] }}| {{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ l[::2] }} {{ l[5:] }} {{ l[-2:] }} {{ l[2:0:-1] }} {{ l[true] }} {{ l[1.0] }}|
{{ s[0] }} {{ s[-1] }} {{ s[1:4] }} {{ s[::-1] }} {{ s[99] }}| {{ u[6] }} {{ u[6:] }} {{ u[::-1] }} {{ u[:7] }} {{ (1, 2, 3)[1:] }} {{ range(10)[2:8:2] }} {{ range(5)[-1] }}
{{ l['a':] }}
{{ s[::0] }}
{{ none[1:] }}
{{ undef[1:] }}
{{ d['a'] }} {{ d.a }} {{ d['zz'] }}| {{ d[1] }}| {{ d['items'] }} {{ d['keys'] is callable }} {{ {1: 'a', '1': 'b'}[1] }} {{ {true: 'x'}[1] }} {{ {none: 1}[none] }} {{ d[[1]] }}|
{{ nested.a.b.c.1 }} {{ nested['a']['b'].c[0] }} {{ msgs.0.role }}
{{ undef }}| {{ undef.x }}
{{ undef['x'] }}
{{ undef() }}
{{ undef + 1 }}
{{ -undef }}
{{ undef == undef2 }} {{ undef != 1 }} {{ undef is none }} {{ [undef] }} {{ undef in [undef2] }}
{{ undef < 1 }}
{{ s.upper().lower()[0:3] | length }}
{{ '%s %r %d %5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%c|%c|%%|%e|%.3e|%g|%g|%.2f|%10.3f|%s' % ('a', 'b', 3.7, 42, 42, 42, 42, 42, 255, 255, 255, 8, 'z', 65, 12345.678, 0.00012, 1e10, 0.0001, 2.675, 3.14159, none) }}
{{ '%(a)s-%(b)05.1f' % {'a': 1, 'b': 2} }} {{ '%s' % 'x' }} {{ '%s' % [1, 2] }} {{ 'x' % {} }} {{ '%*d|%-*d|%.*f' % (5, 1, 4, 2, 1, 2.55) }} {{ '%a' % 'é' }} {{ '%.2s' % 'abc' }} {{ '%5s|%-5s|' % ('é', '😀') }}
{{ '%d' % 'x' }}
{{ '%s %s' % ('a',) }}
{{ '%s' % ('a', 'b') }}
{{ 'x' % 1 }}
{{ '%q' % 1 }}
{{ '{} {}'.format(1, 'a') }} {{ '{1}{0}'.format('a', 'b') }} {{ '{a.role}/{b[0]}/{c[k]}'.format(a=msgs[0], b=l, c={'k': 'v'}) }} {{ '{{}}{!r:>5}|{:^7}|{:*<5}|{:>{w}}'.format('x', 'm', 'l', 'r', w=4) }}
{{ '{:d} {:5d} {:<5d}| {:+} {:,} {:_} {:x} {:#b} {:08.3f} {:.1%} {:e} {:g} {:G} {:010,} {:n>4} {:c}'.format(1, 2, 3, 4, 1234567, 1234567, 255, 5, 3.14159, 0.256, 1234.5, 1e-7, 1e20, 1234, 1, 97) }}
{{ '{:.3} {:10.4}| {} {:} {:5}'.format('abcdef', 3.14159265, 1.0, none, true) }}
{{ '{}'.format() }}
{{ '{0} {}'.format(1) }}
{{ '{'.format(1) }}
{{ '{a}'.format(1) }}
{{ '{0.__class__}'.format(1) }}|
{{ '{:d}'.format('a') }}
{{ '{a}'.format_map({'a': 1}) }}
{{ dict(a=1, b=2) }} {{ dict([('a', 1)]) }} {{ dict({'a': 1}, b=2) }} {{ dict.fromkeys('ab', 0) }} {{ {'a': 1, 'a': 2} }} {{ {1: 'a', 1.0: 'b', true: 'c'} }}
{{ dict([1]) }}
{{ {[1]: 2} }}
{{ range(3) | list }} {{ range(1, 10, 3) | list }} {{ range(3, 0, -1) | list }} {{ range(0) }} {{ range(1, 5, 2) }} {{ range(100000) | length }}
{{ range(100001) }}
{{ range(1.5) }}
{{ range(1, 2, 0) }}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}
{% set j = joiner('|') %}{{ j() }}a{{ j() }}b{{ j() }}
{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}{% set ns.b = 'x' %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{{ ns['a'] }} {{ ns }}
{% set ns = namespace() %}{% for x in l %}{% set ns.sum = (ns.sum or 0) + x %}{% endfor %}{{ ns.sum }}
{% set ns = {} %}{% set ns.a = 1 %}
{% set ns = namespace(_a=1) %}
{% set ns = namespace() %}{% set ns._a = 1 %}
{{ raise_exception('stop: ' ~ 1) }}
{{ strftime_now('%Y-%m-%d %H:%M:%S %a %A %b %B %d %e %-d %-m %I %p %j %y %U %W %u %w %V %G %C %D %F %T %R %c %x %X %h %s'[:-3]) }}
{% if 1 %}a{% elif 2 %}b{% else %}c{% endif %}{% if undef %}d{% endif %}{% if [] %}e{% else %}f{% endif %}
{% for x in l %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}/{{ loop.depth }}/{{ loop.previtem }}/{{ loop.nextitem }};{% endfor %}
{% for x in [] %}a{% else %}empty{% endfor %}{% for x in undef %}a{% else %}undef{% endfor %}
{% for x in none %}{% endfor %}
{% for x in 5 %}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for a, b in [[1, 2], (3, 4), 'xy'] %}{{ a }}{{ b }}{% endfor %}
{% for a, b in [[1, 2, 3]] %}{% endfor %}
{% for a, b in [1] %}{% endfor %}
{% for x in l if x > 1 %}{{ x }}{{ loop.index }}{{ loop.last }}{% endfor %}{% for x in l if x > 9 %}{% else %}none{% endfor %}
{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}({{ loop(x) }}:{{ loop.depth }}){% else %}{{ x }}{% endif %}{% endfor %}
{% for x in l %}{{ loop(x) }}{% endfor %}
{% for x in [1, 2, 3, 4] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in [1] %}{% continue %}{% else %}else{% endfor %}|{% for x in [1] %}{% break %}{% else %}else{% endfor %}
{% break %}
{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x // 2) }}{% endfor %}{% for x in 'aab' %}{{ loop.changed(x) }}{% endfor %}
{% for x in l | map('string') %}{{ loop.length }}{{ loop.last }}{{ x }}{% endfor %}
{% for x in l %}{{ loop }}{% endfor %}
{% set x = 1 %}{% for i in l %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}
{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}{% if false %}{% set y = 1 %}{% endif %}{{ y }}|{{ y is defined }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}{% set t = 1, 2 %}{{ t }}
{% set a, b = 1 %}
{% set x %}a{{ 1 }}b{% endset %}{{ x }}{{ x | length }}{% set x | upper | replace('A', 'z') %}ab{% endset %}{{ x }}
{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}{% set a = 5 %}{% with a = 1, b = a %}{{ b }}{% endwith %}{{ a }}{% with %}{% set q = 1 %}{% endwith %}{{ q }}|
{% filter upper | replace('B', 'x') %}a{{ 'b' }}{% endfilter %}
{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=6) }} {{ m() }}| {{ m.name }} {{ m.arguments }} {{ m }}
{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}{{ m() }}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{% endmacro %}{{ m(b=2) }}
{% macro m(a) %}{% endmacro %}{{ m(1, a=2) }}
{% macro m(x) %}[{{ x }}{{ caller() }}]{% endmacro %}{% call m(1) %}body{% endcall %}
{% macro m() %}{% for x in l %}{{ caller(x, y=2) }}{% endfor %}{% endmacro %}{% call(a, y=0) m() %}{{ a }}{{ y }};{% endcall %}
{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}
{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{% set x = 2 %}{{ m() }}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}
{% block a %}x{{ s }}{% endblock %}{{ self.a() }}{% for x in [1, 2] %}{% block b scoped %}{{ x }}{% endblock %}{% block c %}{{ x }}|{% endblock %}{% endfor %}
{% block a %}{% endblock %}{% block a %}{% endblock %}
{% block a %}{{ super() }}{% endblock %}
{% generation %}a{{ 1 }}{% endgeneration %}b
{% raw %}{{ x }}{% if %}{% endraw %}{%- raw -%}  y  {%- endraw +%}
{# comment #}a{#- b -#}  c{# d #}
{% include 'x' %}
{% import 'x' as y %}
{% from 'x' import y %}
{% extends 'x' %}
{% if false %}{% include 'x' %}{% endif %}ok
{% do l.append(1) %}
{% nothing %}
{% if %}{% endif %}
{% if x %}
{% endif %}
{{ }}
{{ 1 + }}
{{ (1 }}
{{ 1) }}
{{ [1, }}
{{ 'a }}
{{ 1 is }}
{{ a b }}
{{ 1 | }}
{{ x is odd is even }}
{% for x of l %}{% endfor %}
{% set 1 = 2 %}
{% set true = 2 %}
{% set x.y.z = 2 %}
{% for loop in l %}{{ loop.index }}{% endfor %}
{% macro m(a=1, b) %}{% endmacro %}
{{ f(a=1, 2) }}
{{ f(a=1, a=2) }}
{{ dict(**{'a': 1}) }} {{ dict(*[[('a', 1)]]) }} {{ '{}{}'.format(*[1, 2]) }}
{{ dict(**1) }}
{{ [1, 2,] }} {{ (1,) }} {{ () }} {{ {'a': 1,} }} {{ 1, 2 }}
{{ -1 | abs }} {{ -(1 | abs) }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ not 1 == 2 }} {{ 1 + 2 ~ 3 * 2 }} {{ 'a' ~ 'b' | upper }} {{ 1 if true else 2 | string }}
{{ 5 is divisibleby 5 and true }} {{ 'a' is in 'abc' }} {{ not 1 is odd }} {{ 1 is not odd }} {{ x is defined and x }}
{{ s | e | e }} {{ tag | e + '<' }} {{ (tag | safe) + '<' }} {{ '<' + (tag | safe) }} {{ (tag | safe) ~ '<' }} {{ [tag | e] }} {{ ('<%s>' | safe) % '<' }} {{ ('<' | safe) * 2 }}
{{ (tag | safe).upper() }} {{ (tag | safe).replace('x', '<') }} {{ (tag | safe).split('>')[0] + '<' }} {{ (tag | safe) == tag }} {{ (tag | safe)[0] + '<' }} {{ ['<', '>' | safe] | join('&') }}
{{ [3, 1, 2] | sort | first }} {{ [[2, 'b'], [1, 'a']] | sort }} {{ [true, 0, 2.5] | sort }}
{{ [1, 'a'] | sort }}
{{ d | length }}{{ d.items() | length }}{{ d.keys() | list }}{{ d.items() == d.items() }}{{ d.keys() == dd.keys() }}
{{ d.items()[0] }}|
{{ (l | map('string')) | length }}
{% set g = l | map('string') %}{{ g | list }}{{ g | list }}{{ g is iterable }}{{ g is sequence }}{% if [] | select %}true{% endif %}
{{ l | map('string') | first }}{{ l | select('odd') | join('+') }}
{{ 1.__class__ }}
{{ s.__class__.__mro__ }}
{{ ''.join(l | map('string')) }}
{{ msgs | selectattr('role', 'in', ['user']) | map(attribute='content') | map('upper') | join(', ') }}
{{ messages is defined }} {{ range is defined }} {{ none is defined }} {{ lipsum is defined }}
{{ 'a' if s else }}
{{ caller }}|{{ varargs }}|{{ self }}|
{{ "{{" }}{{ '%}' }}{{ {'a': {'b': {}}} }}{{ '}}' }}
{{- 'a' -}} b {{- ' c' }}  {%- if true -%}  d  {%- endif -%}  e
    {%+ if true %}a{% endif %}
a {% if true %} b {% endif %} c
"""
# With line breaks.
LINES = ["x{#", "x{% raw %}", "x{# ", "x{% raw %} ", "x{%", "x{{", "a\r\nb\rc\n", "a\n", "a\n\n", "\n", "", " ", "  {% if true %}\r\n  x\r\n  {% endif %}\r\ny", "{{ 'a\r\nb' }}",
         "  {# c #}\n  x", "x {# c #}\ny", "{#- c #}\n\n x", "\n\n  {%- if true %} x{% endif %}", "{% if true %}\n\nx{% endif %}",
         "{% if true -%}\n\n x{% endif %}", "\ufeff{{ 1 }}", "\u00a0{%- if true %}x{% endif %}", "\u2003{% if true %}x{% endif %}", "a{% raw %}\n{{ x }}\n{% endraw %}\nb",
         "{%- raw %}\n a {%- endraw %}", "{{ x\n}}{{\n1 }}", "{%\nif true\n%}x{%\nendif\n%}", "{{+ 1 }}{{- -1 }}", "{{ [\n1,\n2\n] }}",
         "  {% if true %}  \n  x\n  {% endif %}  \ny\n", "{% if true +%}\nx\n{%+ endif %}\n", "{% for x in [1, 2] %}\n  {{ x }}\n{% endfor %}\n", "{% for x in [1, 2] -%}\n  {{ x }}\n{%- endfor %}\n",
         "{% for x in [1, 2] %}\n  {% if x == 1 %}\n    one\n  {% else %}\n    other\n  {% endif %}\n{% endfor %}\n",
         "{%- for m in msgs %}\n    {{- m.role + ':\\n' }}\n    {%- if m.x is defined %}\n        {{- m.content | trim }}\n    {%- endif %}\n{%- endfor %}"]


def templates():
    for table, joint in ((FILTERS, " | "), (TESTS, " is "), (METHODS, ".")):
        for key, values in table.items():
            for value in values:
                left, right = (key, value) if joint == "." else (f"({value})", key)
                yield "{{ " + left + joint + right + " }}"
    yield from OTHERS.strip("\n").split("\n")
    yield from LINES
    yield from expressions(seed=1, count=350)
    yield from statements(seed=1, count=250)


def main():
    cases = []
    for template in dict.fromkeys(templates()):
        outcome = render(template, VARIABLES)
        if " at 0x" not in outcome.get("text", "") and len(outcome.get("text", "")) < 2000:
            cases.append({"template": template, **outcome})
    json.dump({"variables": VARIABLES, "cases": cases}, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
