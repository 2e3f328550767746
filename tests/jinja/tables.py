"""Tables of what jinja2 says: a template with a $, and what is put there. usage: tables.py > outcomes.json

Systematic where snippets.py asks for what is usual: each filter, test, method and operator with values of each
kind, each way to write a number, each code of a date. A text is what jinja2 makes of it; null is a refusal.
"""
import json
import re
import sys
from datetime import datetime

from random_snippets import VARIABLES
from reference import render
from tables_of_filters import TABLES
from tables_of_statements import STATEMENTS

# A value of each kind, and some of the same kind that differ.
KINDS = ["'aB c'", "''", "'<b>' | safe", "7", "0", "10 ** 20", "2.5", "true", "none", "undef", "[3, 1, 2]", "[]", "(1, 'b')", "d", "{}",
         "range(3)", "d.items()", "d.keys()", "ed.values()", "l | map('string')", "l | reverse", "namespace(a=1)", "cycler(1)", "joiner(1)", "dict"]
# Operands: fewer, as they come in pairs.
OPERANDS = ["'a'", "'b<' | safe", "2", "10 ** 20", "1.5", "true", "none", "undef", "[1]", "(1,)", "{'a': 1}", "range(2)", "{'a': 1}.keys()"]

FILTERS = """abs attr('x') batch(2)|list capitalize center count d default dictsort e escape filesizeformat first float forceescape
format groupby('a') indent int items|list join last length list lower map|list map('string')|list max min pprint reject|list rejectattr('a')|list replace('a','b')
reverse reverse|list round safe select|list selectattr('a')|list slice(2)|list sort string striptags sum title tojson trim truncate unique|list upper
urlencode urlize wordcount wordwrap xmlattr""".split()
TESTS = """boolean callable defined divisibleby(2) eq(7) equalto(7) ==(7) ne(7) !=(7) escaped even odd false true filter test float integer number gt(2) >(2)
greaterthan(2) ge(7) >=(7) lt(2) <(2) lessthan(2) le(7) <=(7) in([7]) iterable lower upper mapping none sameas(none) sameas(7) sequence string undefined""".split()
# What is equal without being the same.
VIEWS = ["ed", "ed.keys()", "ed.values()", "ed.items()", "d.keys()", "d.items()", "d.values()", "{'a': 1}.keys()", "{'a': 2}.keys()", "{'b': 1}.keys()", "{'a': 1}.items()", "{'a': 2}.items()", "{'b': 1}.items()", "{'a': 1.0}.items()", "{'a': 1}.values()", "{'a': [1]}.items()", "{('a', 1): 2}.keys()", "('a', 1)", "('a', 1, 2)", "('b', 1)", "['a', 1]", "'a'", "1", "1.0", "range(0)", "range(1)", "range(0, 1, 5)", "range(1, 1)", "range(0, 4, 2)", "range(0, 3, 2)", "range(4, 0, -2)", "range(4)", "range(1, 4)", "2", "4", "-1", "('nan' if t) | float", "[('nan' if t) | float]", "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", "{'a': 1, 'b': 3}", "{'a': none}", "[[1], {'a': (1,)}]", "[[1.0], {'a': (true,)}]", "none", "undef", "range", "joiner"]
# Arguments of filters that take some, of each kind that they could be.
ARGUMENTS = ["1", "-1", "0", "'x'", "''", "true", "false", "none", "undef", "1.5", "[1]", "('a', 'b')"]
WITH_ARGUMENTS = """'ab'|attr($) [1,2,3]|batch($)|list [1,2,3]|batch(2,$)|list 'ab'|center($) undef|d($) ''|d('x',$) dd|dictsort($) dd|dictsort(by=$) dd|dictsort(reverse=$)
2048|filesizeformat($) 'x'|float($) 'ab'|format($) '%s'|format($) msgs|groupby($) msgs|groupby('x',$) msgs|groupby('role',none,$) 'a\\nb\\n\\nc'|indent($) 'a\\nb'|indent(1,$) 'a\\n\\nb'|indent(1,false,$)
'12'|int($) 'zz'|int(7,$) '11'|int(0,$) l|join($) msgs|join(',',$) l|map($)|list msgs|map(attribute=$)|list msgs|map(attribute='x',default=$)|list l|map('d',$)|list
['a','B']|max($) msgs|max(attribute=$) ['a','B']|min($) [1,2]|select($)|list [1,2]|reject($)|list [1,2]|select('gt',$)|list msgs|selectattr($)|list msgs|rejectattr('n',$)|list msgs|selectattr('n','gt',$)|list
'a1a'|replace($,'-') 'a1a'|replace('a',$) 'a1a'|replace('a','-',$) 12.345|round($) 12.345|round(1,$) [1,2,3]|slice($)|list [1,2,3]|slice(2,$)|list ['b','A']|sort($) ['b','A']|sort(false,$) msgs|sort(attribute=$)
[[1],[2]]|sum($) msgs|sum('n',$) [[1],[2]]|sum(start=$) 'é'|tojson($) [1,[2]]|tojson(indent=$) [1,2]|tojson(separators=$) dd|tojson(sort_keys=$) ' x 1 '|trim($) 'foobarbazquux'|truncate($) 'foo\\x20bar\\x20baz'|truncate(7,$)
'foo\\x20bar\\x20baz\\x20qux'|truncate(7,false,$) 'foobarb'|truncate(5,true,'..',$) ['a','A']|unique($)|list msgs|unique(attribute=$)|list 'http://abcdef.de'|urlize($) 'http://a.de'|urlize(nofollow=$) 'http://a.de'|urlize(target=$)
'http://a.de'|urlize(rel=$) 'http://a.de'|urlize(extra_schemes=$) 'aa\\x20bb'|wordwrap($) 'aabb'|wordwrap(3,$) 'aa\\x20bb'|wordwrap(3,wrapstring=$) 'a-b'|wordwrap(2,break_on_hyphens=$) {'a':1}|xmlattr($)
range($)|list range(1,$)|list range(3,0,$)|list dict($) dict(a=$) namespace($) namespace(a=$) cycler($).next() joiner($)() raise_exception($) strftime_now($)
7|divisibleby($) [7]|select('divisibleby',$)|list [7]|select('in',$)|list [none]|select('sameas',$)|list [true]|select('sameas',$)|list [7]|select('eq',$)|list""".split()
METHOD_CALLS = """capitalize() casefold() center($) center(5,$) count($) count('a',$) count('a',0,$) endswith($) endswith('b',$) endswith('b',0,$) expandtabs($) find($) find('b',$) find('b',0,$) index($)
isalnum() isalpha() isascii() isdecimal() isdigit() isidentifier() islower() isnumeric() isprintable() isspace() istitle() isupper() join($) ljust($) ljust(5,$) lower() lstrip($) partition($)
removeprefix($) removesuffix($) replace($,'-') replace('a',$) replace('a','-',$) rfind($) rfind('a',$) rfind('a',0,$) rindex($) rjust($) rjust(5,$) rpartition($) rsplit($) rsplit('a',$) rsplit(none,$)
rstrip($) split($) split('a',$) split(none,$) splitlines($) startswith($) startswith('a',$) startswith('a',0,$) strip($) swapcase() title() upper() zfill($) format($) format_map($)""".split()
METHOD_ARGUMENTS = ["", "1", "-1", "0", "7", "'a'", "'b'", "''", "' '", "none", "true", "1.5", "undef", "['a', 'b']", "[1]", "('a', 'b')", "(1,)", "()", "{'a': 1}", "1, 2, 3, 4", "a=1"]
NAMES = """x real imag numerator denominator bit_length() bit_count() conjugate() is_integer() as_integer_ratio hex fromhex from_bytes to_bytes count(1) count() index(1) index('b') index(1,2) index(1,0,1) index(1,'a') index(9,-5,99)
copy() append(1) clear() pop() reverse() insert(0,1) sort() extend([]) remove(1) popitem() setdefault(1) update({}) get('a') get('x',1) get() keys() values() items() fromkeys mapping isdisjoint start stop step
close send throw gi_running gi_yieldfrom gi_suspended upper() encode maketrans translate format format_map next() reset() current pos sep used a name __class__ __init__ __len__ _private grouper list call
__delattr__ __dir__ __doc__ __eq__ __format__ __ge__ __getattribute__ __getstate__ __gt__ __hash__ __init_subclass__ __le__ __lt__ __ne__ __new__ __reduce__ __reduce_ex__ __repr__ __setattr__ __sizeof__ __str__ __subclasshook__""".split()
KEYS = ["0", "-1", "3", "-4", "true", "1.0", "none", "undef", "'a'", "'real'", "'upper'", "'items'", "'zz'", "[1]", "{}", "(1, 2)", "([],)", "10 ** 20", "-10 ** 20",
        ":", "1:", ":1", "-1:", ":-1", "::2", "::-1", "2::-1", ":0:-1", "-9:9", "9:-9:-2", "1:1", "::0", "'a':", ":1.5", "none:none:none", "true:", "10 ** 20:", ":-10 ** 20:-1", "1:2, 3", "1, 2"]
SEQUENCES = ["'aß😀d'", "''", "[3, 1, 2]", "[]", "(1, 'b', none)", "range(1, 9, 3)", "range(5, 0, -2)", "d", "{(1, 2): 'x', none: 'y', 1.0: 'z'}", "d.items()", "d.keys()", "l | map('string')", "7", "none", "undef", "'<b>' | safe", "2.5", "namespace(a=1)"]

NUMBERS = ["0", "5", "-42", "1234567", "10 ** 20", "true", "0.0", "-0.0", "1.0", "-2.5", "0.000012345", "1234567.891", "1e16", "1e100", "-1e-7", "('inf' if t) | float", "('-inf' if t) | float", "('nan' if t) | float", "0.5", "999999.5", "9.9999e-5"]
SPECS = """ d b o x X n c s e E f F g G % #x #X #b #o #d #e #f #g #.0f #.0e #.3g #.0% + - \\x20 +d -d \\x20d +.2f \\x20.2f z.1f 5 <5 >5 ^5 =5 05 5d <5d >5d ^5d =5d 05d +05d *<9 *>9 *^9 *=+9 0<9 0^9 x=9 #010x #010b -<9 ^^9 é>9
, _ ,d _d ,.2f _.2f _x _b ,x _o 010, 011, 012, 013, 010_d 020_x #020_x 020,.2f 015,.1e 0=12, x=12, ,e ,g ,% ,.3 _n ,c ,s .0 .1 .2 .3 .5 .10 .0f .1f .2f .10f .0e .1e .5e .0g .1g .3g .10g .0% .1% .2d .2x .2c .f .1001f
10.3f <10.3f ^10.3f 010.3f +010.3f 010.2e 010.2g 5c ^5c z b5 5.5.5 ,, ,_ aa 5a !""".split(" ")
TEXT_SPECS = " s d x f 5 <5 >5 ^5 =5 05 5s .2 .0 .2s 5.1 >5.1s *^5 *^6 0<5 é>4 😀>4 + # , _ z n <05 <1 20.20 %".split(" ")
PERCENTS = """%d %i %u %x %X %o %e %E %f %F %g %G %c %s %r %a %q %z %-5d| %05d %5d %+d %\\x20d %+5d %-+5d| %+05d %\\x2005d %#x %#X %#o %#d %#e %#.0f %#.0e %#g %.3d %.0d %8.3d %-8.3d| %08.3d %+.3d %.3x %#.3x %#08x %-#8x| %.2f %.0f %10.2f %-10.2f|
%010.2f %+.2f %.2e %.0e %10.2e %.3g %.0g %10g %-10g| %.2s %.0s %5s %-5s| %5.1s %05s %.2r %.3a %8r %-8a| %5c %-5c| %.1c %05c %ld %hd %Ld %.d %.s %5% %-5%| %% %(a)s %(a)d %(a)% %(zz)s %(a(b))s % %5 %. %(a %l a%""".split()
PERCENT_VALUES = ["((%s),)" % n for n in ["5", "-42", "1234567", "10 ** 20", "true", "0.0", "-0.0", "2.5", "-2.675", "1e16", "1e-7", "('inf' if t) | float", "('nan' if t) | float", "'x'", "'é😀'", "''", "none", "undef", "[1]", "300", "-1", "1114111", "1114112", "tag | safe"]] + \
                 ["()", "5", "'x'", "none", "undef", "[1]", "range(2)", "{}", "{'a': 5}", "{'a': 'é', 'a(b)': 1}", "{'a': 2.5}.items()", "(1, 2)", "namespace(a=1)"]

CODES = "aAbBcCdDeFfgGHIhjklmMnpPrRStTuUVwWxXyYzZ%"
DATES = [(2026, 11, 29, 15, 4, 5), (2024, 1, 1, 0, 0, 0), (2023, 1, 1, 12, 30, 9, 7000), (2021, 1, 3, 11, 59, 59, 123000), (2020, 12, 31, 13, 1, 2), (2024, 2, 29, 1, 2, 3), (2016, 1, 2, 23, 0, 10), (1999, 10, 9, 10, 9, 8), (2000, 3, 4, 5, 6, 7), (2027, 5, 5, 9, 9, 9),
         (2022, 6, 11, 20, 20, 20), (2022, 7, 12, 21, 21, 21), (2022, 8, 17, 22, 22, 22), (2022, 9, 23, 14, 14, 14), (2022, 4, 25, 17, 17, 17)]

# The characters at the borders of Python's classes, and letters whose cases are their own.
CHARACTERS = ["'%s'" % c for c in "aZ0_ é\u00aa\u00b2\u00bd\u00b5\u00dfŉſǅǆǱǲǳͅΐΣςσ\u0378\u0660Ωა\u1c90Ꭰꭰẞᾀᾈᾲᾳᾴᾷᾼῂῃῄῇῌῲῳῴῷῼῒ\u1f7f\u1faf\u1fb0\u10cf\u10d0\u10ff\u1100\u01c3\u01c4\u01cd\u01f0\u01f4\u1369\u2079\u24ea\u2776\U00010a40\U0001f100\u3405\u2070\u2160\u2170\u2460\u24b6ⓐ\u3007\u4e00ﬁﬓＡ\U00010400\U00010428\U0001d400😀\u00ad\u200b\u2028\u00a0\u1680\u180e\u2003\u202f\u3000\x1c\x1f\x85\ufeff\x7fİı"] + \
             ["'%s'" % t for t in ["aB", "Ab cD", "ΑΣ", "ΑΣ.", "ΑΣΑ", "1a", "a1B", "ǅa", "aǅ", "ß", "ßx", "ﬁ x", "ŉa", "A1", "A b", "Ab", "AB", "a_b", "1_", "x y", "İx", "x'y", "Ꭰꭰ", "აბ", "ᾳx", "ᾀb"]]
CHARACTER_TESTS = "{% set c = $ %}{{ c.isalnum() | int }}{{ c.isalpha() | int }}{{ c.isascii() | int }}{{ c.isdecimal() | int }}{{ c.isdigit() | int }}{{ c.isidentifier() | int }}{{ c.islower() | int }}{{ c.isnumeric() | int }}{{ c.isprintable() | int }}{{ c.isspace() | int }}{{ c.istitle() | int }}{{ c.isupper() | int }}" + \
                  " {{ c.upper() }} {{ c.lower() }} {{ c.title() }} {{ c.capitalize() }} {{ c.swapcase() }} {{ c.casefold() }} {{ c | title }} {{ [c] }} {{ c.split() | length }} {{ c.splitlines() | length }} {{ c | tojson(true) }} {{ '%a' % c }} {{ c | urlencode }} {{ c | wordcount }} {{ c is lower }} {{ c is upper }}"

NUMERALS = ["'%s'" % t for t in ["1", "-1", "+1", " 1 ", "1_0", "_1", "1_", "1__0", "0x1f", "0X1F", "0b11", "0o17", "-0x1f", "0x_1f", "0x", "00", "017", "0_0", "0_1", "1.5", ".5", "5.", ".", "1e3", "1E+3", "1e-3", "1e", "e3", "1.5e3", "1_0.5_0", "1._5", "inf", "-inf", "+Infinity", "nan", "-NaN", "infin", "('inf' if t) | float", "z", "Z", "1 2", "", "9007199254740993", "-9007199254740993", "\u0663", "\u0663" * 30]] + \
           ["'1' * 4300", "'1' * 4301"]
INT_BASES = [0, 1, 2, 8, 10, 16, 36, 37, -1]

# What takes time, over something long.
LONG_USES = {
    "text": " in w|.split('b')|.split()|.rsplit('b')|.rsplit()|.split('b', 3)|.splitlines()|.replace('a', 'xy')|.replace('', '-')|.find('zz')|.rfind('zz')|.count('a')|.startswith(w)|.endswith((w, w))|.strip()|.strip('a')|.lstrip(w)|.removeprefix('ab')|.partition('zz')|.rpartition('zz')|.join(['a', 'b', 'c'])|.upper()|.title()|.swapcase()|.casefold()|.capitalize()|.isalpha()|.isupper()|.istitle()|.isspace()|.center(2000)|.ljust(2000, '-')|.rjust(2000)|.zfill(2000)|.expandtabs()|[3]|[-3]|[1:]|[::2]|[::-1]| * 3| ~ w| + w| == w ~ ''| < w ~ ''| % ()| is lower| is upper| is in w| is iterable| is string|.format()|.encode|.foo".split("|"),
    "filters": "e|forceescape|striptags|upper|title|trim|trim(w)|length|list|first|last|reverse|string|safe|replace('a', 'b')|center(2000)|indent|indent(200)|truncate(9)|wordcount|wordwrap(9)|wordwrap(2, false)|int|float|tojson|tojson(true)|urlencode|urlize|pprint|default('x')|join('-')|sort|unique|map('upper')|list|select|list|batch(2)|list|slice(2)|list|sum|min|max|length|xmlattr|format(w)|map(attribute=w)|list|groupby(0)|string|d(w)|attr(w)|filesizeformat".split("|"),
    "list": "[3]|[1:]|[::2]|[::-1]| * 3| + w| == w + []| < w + []|.count(1)|.index(9)|.copy()|[:0]| is iterable| is sequence| is in [w]| in [w]|.foo".split("|"),
}
LONG = {
    "'aB ' * 300": LONG_USES["text"] + [" | " + name for name in LONG_USES["filters"]], "(u ~ '\n') * 100": LONG_USES["text"] + [" | " + name for name in LONG_USES["filters"]],
    "(u ~ s) * 30 | safe": LONG_USES["text"], "[1, 2] * 200 + [9]": LONG_USES["list"] + [" | " + name for name in LONG_USES["filters"]], "([s, u] * 100)": LONG_USES["list"] + [" | " + name for name in LONG_USES["filters"]],
    "(1, 2) * 200 + (9,)": LONG_USES["list"] + [" | " + name for name in LONG_USES["filters"]], "dict(range(300) | map('string') | batch(2))": ["", ".keys()", ".items()", ".values()", ".copy()", ".get('7')", "['7']", ".foo", " == w.copy()", ".items() == w.copy().items()", ".keys() == w.copy().keys()", " | list", " | tojson", " | tojson(sort_keys=true)", " | dictsort", " | dictsort(by='value')", " | pprint", " | length", " | items | list", " | urlencode", " | xmlattr", " | join", " | sort", " in [w]", ".items() | list", " is mapping"],
    "10 ** 300": [" + 1", " - 1", " * 3", " // 3", " % 7", " / 3", " ** 2", " == 1", " < 1", " | string", " | tojson", " | abs", " | float", " | int", " | round", " | round(-2)", ".bit_length()", ".bit_count()", ".real", " is odd", " in [1]", " | filesizeformat"],
    "'%' ~ 'd' ~ '1'": [" % 10 ** 300", " % 5", ".format(5)"], "range(300)": ["", "[5]", "[2:]", " | list", " | sum", " | length", " | reverse | list", " | last", ".count(5)", ".index(9)", " == range(1)", " | tojson", " | batch(7) | list", " | batch(999, 0) | list", " | slice(7, 0) | list", " | map('string') | join", " | select('odd') | list", " | unique | list", " | sort(reverse=true)", " | groupby('real')"],
    "'{:500}'": [".format('a')", ".format(1)", ".format(1.5)", ".format(10 ** 50)"], "'%500s'": [" % 'a'", ".format(1)"], "'%500d'": [" % 1"], "'%.500d'": [" % 1"], "'{:.300f}'": [".format(1.5)"], "'{0:{1}}'": [".format('a', 9)"], "'%.300f'": [" % 1.5"],
}

ARITHMETIC = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
PAIRS = ["7, 2", "-7, 2", "7, -2", "-7, -2", "6, 3", "0, 5", "0, -5", "7.5, 2", "-7.5, 2", "7.5, -2", "6.0, -3", "-6.0, 3", "0.0, -3", "-0.0, 3", "1e16, 3", "1, 3", "2 ** 53, 3", "2 ** 60 + 1, 7", "-(2 ** 60 + 1), 7", "2 ** 60 + 1, -7", "9007199254740991, 1", "9007199254740991, 2", "-9007199254740991, 2", "2 ** 51, 3", "2 ** 52 + 1, 2", "94906267, 94906267", "(('inf' if t) | float), 2", "(('inf' if t) | float), -2", "5, (('inf' if t) | float)", "-5, (('inf' if t) | float)", "5, (('-inf' if t) | float)", "(('nan' if t) | float), 1", "true, 2", "2, true", "0.1, 3", "0.7, 0.1", "1, 0.1", "-1, 0.1", "5e-324, 2", "true, false", "1e308, 10",
         "10 ** 20, 10 ** 20", "10 ** 20, 10 ** 19", "10 ** 400, 10 ** 399", "10 ** 20, 0", "10 ** 20, 0.0", "10 ** 20, -10 ** 19"]
POWERS = ["7, 2", "-7, 2", "7, -2", "7.5, 2", "0, 5", "0, 0", "10 ** 400, 2", "10 ** 400, 2.0", "2, 0.5", "-2, 0.5", "-2, 2", "-2, 3", "2, -2", "0, -1", "0.0, -1", "1, (('inf' if t) | float)", "-1, (('inf' if t) | float)", "-1, (('-inf' if t) | float)", "-1, (('nan' if t) | float)", "1e200, 2", "1e200, 1e200", "0, 0", "1, 10000000", "-1, 10000001", "0, 10000000", "2, 14300", "2, 14299", "2, 14301", "3, 9000", "3, 9100", "-2, 14299", "10 ** 20, 0", "(('inf' if t) | float), 2", "true, 2", "2, true", "true, false", "1e308, 10", "10 ** 20, 0.0"]
ROUNDED = ["0", "5", "15", "25", "-25", "-26", "1250", "2 ** 70", "0.5", "1.5", "2.5", "-0.5", "-1.5", "0.05", "2.675", "1.005", "-1.005", "1234.5678", "1e22", "1e-320", "('inf' if t) | float", "('nan' if t) | float", "-0.0", "true"]


def tables():
    """Each template, and the values for its $."""
    for name in FILTERS: yield "{{ ($) | %s }}" % name.replace("|", " | "), KINDS
    for name in TESTS: yield "{{ ($) is %s }}" % name if name[0].isalpha() else "{{ [$] | select('%s', %s) | list | length }}" % (name[:-3], name[-2]), KINDS
    for call in WITH_ARGUMENTS: yield "{{ %s }}" % call.replace("|", " | "), ARGUMENTS
    for call in METHOD_CALLS:
        for text in ["'bab a'", "''", "u", "tag | safe"]:
            values = [] if "$" not in call else METHOD_ARGUMENTS if text in ("'bab a'", "u") else ["", "1", "7", "'a'", "undef", "('a', 'b')"]
            yield "{{ (%s).%s }}" % (text, call if values else call[:-1] + "$)"), values or ["", "1"]
    for name in FILTERS + ["map('x')", "select('x')"]: yield "{{ ('ab' | %s($)) | string }}" % name.split("(")[0].split("|")[0], ["1, 2, 3, 4, 5, 6", "nothing=1", "*[], **{}"]
    for name in TESTS: yield "{{ 7 is %s($) }}" % name.split("(")[0] if name[0].isalpha() else "{{ [7] | select('%s', $) | list }}" % name.split("(")[0], ["1, 2, 3", "nothing=1"]
    for name in NAMES:
        if name.endswith(")"): yield "{{ ($).%s(1, 2, 3, 4) }}" % name.split("(")[0], ["[1]", "(1,)", "range(2)", "d", "7", "true", "2.5", "cycler(1)"]
    for view in VIEWS:
        for operator in ["==", "in", "is sameas"]: yield "{{ ($) %s (%s) }}" % (operator, view), VIEWS
    for name in NAMES: yield "{{ ($).%s }}" % name, ["'a'", "7", "undef", "[1]", "namespace(a=1)", "joiner(1)"] if name.startswith("__") else KINDS
    for value in SEQUENCES: yield "{{ (%s)[$] }}" % value, KEYS
    for operator in ARITHMETIC:
        for other in OPERANDS:
            if operator == "**" and other == "10 ** 20": continue  # Python would not end
            yield "{{ ($) %s (%s) }}" % (operator, other), OPERANDS
    for operator in ["+", "-", "*", "/", "//", "%", "<", "=="]: yield "{%% set a, b = $ %%}{{ a %s b }}" % operator, PAIRS
    yield "{% set a, b = $ %}{{ a ** b }}", POWERS
    for operator in ["-", "+", "not "]: yield "{{ %s($) }}" % operator, KINDS + ["2 ** 63", "-(2 ** 53)", "0.0"]
    for number in NUMBERS: yield "{{ '{:$}'.format(%s) }}" % number, SPECS
    for value in ["'ab'", "'é😀x'", "tag | safe", "none", "[1]", "undef"]: yield "{{ '{:$}'.format(%s) }}" % value, TEXT_SPECS
    for percent in PERCENTS: yield "{{ '%s' %% $ }}" % percent, PERCENT_VALUES
    yield "{{ $ }}", NUMBERS + ["2.0 ** %d" % n for n in (53, 54, -1, -13, -14, -1074, 1023)] + ["1e%d" % n for n in (5, 14, 15, 16, 17, 21, 22, -3, -4, -5, -6, -7)] + ["1.5e300", "123456.75", "-1.5e-5"]
    for name in ["int", "float", "abs", "string", "tojson", "int(7)", "float(7)", "filesizeformat", "urlencode", "list", "pprint"]: yield "{{ ($) | %s }}" % name, NUMBERS + ["(%s)" % value for value in KINDS]
    yield CHARACTER_TESTS, CHARACTERS
    yield "{{ ($) | float('x') }}", NUMERALS
    for base in INT_BASES: yield "{{ ($) | int('x', %d) }}" % base, NUMERALS[:-1] if base == 16 else NUMERALS
    for digits in (-400, -311, -310, -25, -20, -3, -2, -1, 0, 1, 2, 3, 20, 340, 341):
        yield "{{ ($) | round(%d) }}" % digits, ROUNDED
    for method in ("ceil", "floor"):
        for digits in (-1, 0, 1, 2): yield "{{ ($) | round(%d, '%s') }}" % (digits, method), ROUNDED
    yield from TABLES.items()
    yield from STATEMENTS.items()
    for value, uses in LONG.items(): yield "{%% set w = %s %%}{{ (w$) | string | length }}" % value, uses


def main():
    outcomes = {}
    for pattern, values in tables():
        row = outcomes.setdefault(pattern, {})
        for value in values:
            text = render(pattern.replace("$", value), VARIABLES).get("text")
            if text is None or (not re.search("0[xX][0-9a-f]{6}", text) and len(text) < 1000): row[value] = text
    dates = {datetime(*date).isoformat(): {flag + code: datetime(*date).strftime(f"%{flag}{code}") for flag in ["", "-", "_", "0", "^"] for code in CODES if flag == "" or code not in "fzZ"} for date in DATES}
    json.dump({"variables": VARIABLES, "outcomes": outcomes, "dates": dates}, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
