"""Random templates, most of which are right. usage: random_snippets.py SEED COUNT > cases.json

The same seed draws the same. `expressions` mix values, operators, filters, tests and methods; `statements`
mix tags, and the names that they set and read, so that scopes are tried.
"""
import json
import random
import sys

VARIABLES = {
    "s": "Hello, World", "u": "naïve 😀xß", "ws": "  \t pad\u00a0\u001f\ufeff \n", "lines": "a\nb\r\nc\u2028d\n\ne", "e": "", "n": None,
    "t": True, "f": False, "i": 7, "z": 0, "neg": -3, "big": 2**40, "fl": 2.5, "fn": -0.125,
    "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "mix": [1, "a", None, True, 2.5, [1]], "el": [],
    "d": {"a": 1, "b": "x", "c": [1, 2], "items": 5}, "ed": {}, "dd": {"B": 2, "a": 1, "C": 0},
    "msgs": [{"role": "user", "content": "hi", "n": 2}, {"role": "assistant", "content": "yo <b>", "n": 1, "x": None, "sub": [{"role": "x", "content": "c1", "n": 5}]}, {"role": "user", "content": "bye", "n": 3}],
    "nested": {"a": {"b": {"c": [10, 20]}}}, "num": "42", "fnum": " 3.75 ", "hexs": "0x1F", "csv": "a,b,,c", "q": "it's \"q\"",
    "tag": "<p class='x'>a &amp; b</p>", "path": "a/b c?d=e&f", "ff": "ﬁ ǆ ΑΣ σΣ", "x": "X", "y": None,
}
TEXTS = "s u ws lines e num fnum hexs csv q tag path ff".split()
LITERALS = ["''", "'a'", "'l'", "', '", "'o'", "'\\n'", "' '", "'Hello'", "\"it's\"", "'é'", "'😀'", "'abc'", "'A'", "'-'", "'x y z'", "'%s'", "'{}'", "'%d-%s'", "'a\\tb'", "','", "'lo'"]
INTS = ["0", "1", "2", "3", "-1", "-2", "5", "10", "100", "-7"]
NUMBERS = INTS * 2 + ["2.5", "0.5", "1e3", "0.0", "-0.0", "1.0", "3.14159", "1_000", "0x10", "1e16", "1e-5", "123456789.125"]
# TEXT, INT and ANY stand for draws.
TEXT_METHODS = """upper() lower() capitalize() title() swapcase() strip() lstrip() rstrip() strip(TEXT) lstrip(TEXT) rstrip(TEXT) split()
split(TEXT) split(TEXT,INT) split(None,INT) split(maxsplit=INT) rsplit() rsplit(TEXT) rsplit(TEXT,INT) rsplit(None,1) splitlines()
splitlines(true) splitlines(keepends=True) find(TEXT) find(TEXT,INT) rfind(TEXT,INT,INT) index(TEXT) count(TEXT) count(TEXT,INT)
replace(TEXT,TEXT) replace(TEXT,TEXT,INT) startswith(TEXT) startswith((TEXT,TEXT)) startswith(TEXT,INT) endswith(TEXT) endswith((TEXT,))
removeprefix(TEXT) removesuffix(TEXT) partition(TEXT) rpartition(TEXT) join(ls) join(['x','y']) join(s) join(l) join(d) center(INT)
center(9,TEXT) ljust(9) rjust(15,'*') zfill(9) expandtabs() expandtabs(4) isdigit() isalpha() isalnum() isspace() isupper() islower()
istitle() isnumeric() isdecimal() isidentifier() isprintable() isascii() format(ANY) format(ANY,ANY) __class__ foo format_map({'a':1})""".split()
TEXT_FILTERS = """upper lower capitalize title trim trim(TEXT) length count list first last reverse string safe escape e forceescape
replace(TEXT,TEXT) replace(TEXT,TEXT,1) center(20) indent indent(2) indent(2,true) indent(TEXT,first=true,blank=true) truncate(5)
truncate(9,true) truncate(5,true,'') truncate(5,false,'..',0) wordcount wordwrap(5) wordwrap(8) wordwrap(4,false) wordwrap(6,true,'|') int
int(INT) int(0,16) int(default=5) float float(1.5) tojson tojson(indent=2) urlencode striptags default('d') default('d',true) d join
join(TEXT) sort sort(reverse=true) sort(case_sensitive=true) unique|list map('upper')|list map('upper')|join('-') select|list
batch(2)|list batch(3,'x')|list slice(2)|list format(ANY) abs round sum min max dictsort attr('upper') attr('foo') xmlattr
filesizeformat groupby(0) nofilter select('in','abc')|list reject('equalto','a')|join""".split()
LIST_FILTERS = """list sort sort(reverse=true) sort(attribute='n') sort(attribute='role,n') sort(case_sensitive=true) reverse|list first last
length join join(',') join(',',attribute='role') join(TEXT) map('upper')|list map('string')|join(',') map(attribute='role')|list
map(attribute='zz')|list map(attribute='zz',default='D')|list map('default','q')|list map('length')|list map('int')|list map('trim','a')|list
select|list reject|list select('string')|list select('number')|list select('odd')|list select('gt',1)|list select('in',[1,'a'])|list
selectattr('role')|list selectattr('x')|list selectattr('role','equalto','user')|list selectattr('x','defined')|list rejectattr('x','none')|list
rejectattr('role','==','user')|list|length unique|list unique(case_sensitive=true)|list unique(attribute='role')|list batch(2)|list
batch(2,'f')|list slice(2)|list slice(3,'f')|list groupby('role') groupby('role')|map(attribute='list')|list groupby('x',default=0)|list
groupby('n')|first min max max(attribute='n') min(attribute='role') sum sum(attribute='n') sum(start=10) tojson tojson(indent=1)
tojson(separators=(',',':')) tojson(sort_keys=true) tojson(ensure_ascii=true) string default('x',true) length count dictsort wordcount
tojson|length map('foo')|list map|list select('foo')|list selectattr|list urlencode int float upper""".split()
LIST_METHODS = "count(1) index(1) index('a') copy() append(1) pop() sort() foo __len__ clear".split()
DICT_METHODS = """items() keys() values() get('a') get('zz') get('zz','def') get('b',none) a b zz role copy() items()|list keys()|list
values()|list pop('a') update({}) setdefault('q',1) a.b a.b.c[0] __class__ keys()|sort items()|first""".split()
DICT_FILTERS = """tojson tojson(indent=2) tojson(sort_keys=true) tojson(indent='\\t',separators=(';','=')) items|list dictsort dictsort(reverse=true)
dictsort(false,'value') dictsort(true) length list string first last join(',') map('upper')|list sort xmlattr xmlattr(false) urlencode
default('x') reverse|list tojson|length select('string')|list attr('a') min max sum unique|list upper""".split()
NUMBER_FILTERS = """abs int float round round(1) round(2) round(-1) round(1,'floor') round(1,'ceil') round(0,'common') round(2,'foo') string
filesizeformat filesizeformat(true) tojson default(1) default(1,true) length list upper first sum string|length join float|string format""".split()
NUMBER_METHODS = "real imag bit_length() is_integer() numerator conjugate() foo".split()
NUMBER_FORMATS = "{:d} {:5d}| {:<5}| {:^7}| {:+} {:,} {:.2f} {:e} {:g} {:08.3f} {:x} {:#x} {:b} {:%} {:_} {:010,} {!r:>6} {:.3} {:G} {:c} {:s} {:*=+9}".split()
PERCENT_FORMATS = "%s %r %5s| %-5s| %d %05.1f %x %s-%s %% %.2s %+d %e %g %c".split()
TESTS = """defined undefined none string number integer float boolean mapping sequence iterable callable odd even divisibleby(3) true false
lower upper in('abc') in([1,'a']) eq(1) equalto('a') ne(2) gt(1) lt(2) ge(0) le(3) escaped filter test foo""".split()
UNDEFINED = """undef undef.x d.zz msgs[9] undef|default('x') undef[0] (none).x undef~'a' undef|length undef|list undef|upper undef+1 undef|int
undef|tojson undef|first undef|join undef() l.foo.bar undef|replace('a','b') undef|sort undef|sum undef|map('upper')|list undef|selectattr('x')|list
undef|items|list undef|dictsort undef|abs undef|round undef|indent undef|truncate undef|reverse|list undef|last undef|center undef|wordcount
undef|float undef|e undef|urlencode undef|xmlattr undef|filesizeformat undef|striptags undef|attr('x') undef|groupby('x') -undef [undef]""".split()


class Expressions:
    """Draws expressions of some depth."""

    def __init__(self, draw):
        self.draw, self.one = draw, draw.choice

    def fill(self, pattern, depth):
        while "TEXT" in pattern: pattern = pattern.replace("TEXT", self.one(LITERALS), 1)
        while "INT" in pattern: pattern = pattern.replace("INT", self.one(INTS), 1)
        while "ANY" in pattern: pattern = pattern.replace("ANY", self.any(depth - 1), 1)
        return pattern

    def slice(self):
        part = lambda: self.one(["", "", self.one(INTS)])
        return self.one([f"{part()}:{part()}", f"{part()}:{part()}:{self.one(['', '1', '2', '-1', '-2'])}", self.one(INTS)])

    def text(self, depth):
        if depth <= 0: return self.one(LITERALS + TEXTS * 2)
        inner = lambda: self.text(depth - 1)
        return self.draw.choices([
            lambda: f"({inner()} + {inner()})", lambda: f"({self.any(depth - 1)} ~ {self.any(depth - 1)})",
            lambda: f"{inner()}.{self.fill(self.one(TEXT_METHODS), depth)}", lambda: f"{inner()}|{self.fill(self.one(TEXT_FILTERS), depth)}",
            lambda: f"{inner()}[{self.slice()}]", lambda: f"({inner()} * {self.one(['0', '1', '2', '-1'])})",
            lambda: f"('{self.one(PERCENT_FORMATS)}' % ({self.any(depth - 1)},))",
        ], [3, 2, 6, 6, 1, 1, 1])[0]()

    def list(self, depth):
        if depth <= 0: return self.one(["l", "ls", "mix", "el", "msgs", "[1, 2, 3]", "['a', 'B']", "[]", "range(4)", "(1, 2)"])
        inner = lambda: self.list(depth - 1)
        return self.draw.choices([
            lambda: "[" + ", ".join(self.any(depth - 1) for _ in range(self.draw.randint(0, 3))) + "]",
            lambda: f"({inner()} + {inner()})", lambda: f"{inner()}[{self.slice()}]",
            lambda: f"{inner()}|{self.fill(self.one(LIST_FILTERS), depth)}", lambda: f"{inner()}.{self.one(LIST_METHODS)}", lambda: f"({inner()} * 2)",
        ], [2, 1, 1, 10, 1, 1])[0]()

    def dict(self, depth):
        if depth <= 0: return self.one(["d", "ed", "dd", "nested", "{'a': 1}", "{}", "{1: 2, 'x': none}", "msgs[0]", "dict(a=1)", "{true: 'T', 1.0: 'F'}"])
        inner = lambda: self.dict(depth - 1)
        return self.draw.choices([
            lambda: "{" + ", ".join(f"{self.one(LITERALS + NUMBERS)}: {self.any(depth - 1)}" for _ in range(self.draw.randint(0, 3))) + "}",
            lambda: f"{inner()}.{self.one(DICT_METHODS)}", lambda: f"{inner()}|{self.one(DICT_FILTERS)}",
            lambda: f"{inner()}[{self.one(['1', 'none', 'true', '[1]'] + LITERALS)}]",
        ], [2, 4, 4, 1])[0]()

    def number(self, depth):
        if depth <= 0: return self.one(NUMBERS + "i z neg big fl fn t f".split())
        inner = lambda: self.number(depth - 1)
        return self.draw.choices([
            lambda: f"({inner()} {self.one('+ - * / // %'.split())} {inner()})", lambda: f"({inner()} ** {self.one(['2', '3', '-1', '0'])})",
            lambda: f"(-{inner()})", lambda: f"{inner()}|{self.one(NUMBER_FILTERS)}", lambda: f"({inner()}).{self.one(NUMBER_METHODS)}",
            lambda: f"'{self.one(NUMBER_FORMATS)}'.format({inner()})",
        ], [8, 1, 1, 5, 1, 2])[0]()

    def truth(self, depth):
        if depth <= 0: return self.one(["t", "f", "true", "false"])
        inner = lambda: self.any(depth - 1)
        return self.draw.choices([
            lambda: f"({inner()} {self.one(['==', '!=', '<', '<=', '>', '>=', 'in', 'not in'])} {inner()})",
            lambda: f"({inner()} {self.one(['and', 'or'])} {inner()})", lambda: f"(not {inner()})",
            lambda: f"({self.number(depth - 1)} {self.one('< <= =='.split())} {self.number(depth - 1)} {self.one('< > !='.split())} {self.number(depth - 1)})",
            lambda: f"({inner()} is {self.one(['', 'not '])}{self.one(TESTS)})",
        ], [4, 2, 1, 1, 6])[0]()

    def any(self, depth):
        if depth < 0: return self.one(LITERALS + NUMBERS + ["true", "false", "none"])
        kind = self.draw.choices([self.text, self.list, self.dict, self.number, self.truth, lambda _: self.one(UNDEFINED),
                                  lambda _: f"({self.any(depth - 1)} if {self.any(depth - 1)} else {self.any(depth - 1)})"], [30, 20, 13, 17, 12, 3, 5])[0]
        return kind(depth)


class Statements:
    """Draws bodies of tags; few of their expressions can fail."""

    ONCE = ["x", "y", "q", "z", "i", "s", "x|default('D')", "y is defined", "q is defined", "z|default('Z')", "loop is defined", "x ~ y", "q ~ z", "[x, y]",
            "ns is defined", "m is defined", "caller is defined", "l|length", "(x|string)|upper", "x == y", "1", "'lit'", "none", "varargs", "kwargs",
            "x if y else z", "x is string", "msgs[0].role", "d.a", "x in l", "(1, 2)", "d|items|list", "(caller() if caller)", "joiner(',')()", "(m2(x) if m2 is defined)"] + \
           [f"({name} if loop is defined)" for name in "loop.index loop.index0 loop.last loop.first loop.length loop.nextitem loop.previtem loop.revindex loop.depth loop.changed(x) loop.cycle('A','B') loop".split()]
    ITERABLES = ["l", "msgs", "el", "d", "d.items()", "range(3)", "'abc'", "l|reverse", "l|map('string')", "[[1, 2], [3, 4]]", "msgs|selectattr('n')", "d|dictsort", "undef", "l|batch(2)", "msgs|groupby('role')", "[x, y]", "l[:2]"]

    def __init__(self, draw):
        self.draw, self.one, self.blocks = draw, draw.choice, 0

    def tag(self, text):
        sign = lambda: self.one(["", "", "", "-", "+"])
        return "{%" + sign() + " " + text + " " + sign() + "%}"

    def text(self): return self.one(["a", "\n", " \n  ", "b\n", "  ", "\n\n", "\t", "|", "\r\n", "é", ""])

    def expression(self): return self.one(self.ONCE)

    def body(self, depth, count=3): return "".join(self.statement(depth - 1) for _ in range(self.draw.randint(1, count)))

    def enclosed(self, opening, closing, depth, ending=""): return self.tag(opening) + self.body(depth) + ending + self.tag(closing)

    def statement(self, depth):
        one, tag, name = self.one, self.tag, self.one(["x", "y", "q", "z", "s"])
        if depth <= 0: return self.text() + "{{" + one(["", "", "-"]) + f" {self.expression()} " + one(["", "", "-"]) + "}}" + self.text()
        otherwise = lambda: one(["", tag("else") + self.body(depth)])
        return self.draw.choices([
            lambda: self.statement(0),
            lambda: self.enclosed(f"for {name} in {one(self.ITERABLES)}{one(['', '', ' if ' + self.expression()])}", "endfor", depth,
                                  one(["", "{% if loop.index == 2 %}{% break %}{% endif %}", "{% if x %}{% continue %}{% endif %}t", "{{ loop.index }}"]) + otherwise()),
            lambda: self.enclosed(f"for {name} in msgs recursive", "endfor", depth, "{{ loop(" + name + ".sub) if " + name + ".sub is defined }}"),
            lambda: self.enclosed(f"if {self.expression()}", "endif", depth, one(["", tag(f"elif {self.expression()}") + self.body(depth)]) + otherwise()),
            lambda: tag(f"set {one([name, name, 'x, y'])} = {one([self.expression(), '(1, 2)'])}"),
            lambda: self.enclosed(f"set {name}{one(['', ' | upper'])}", "endset", depth),
            lambda: self.enclosed(f"macro {one(['m', 'm2'])}({one(['', 'x', 'x, y=2', 'x=1, y=x', 'x=y, y=x'])})", "endmacro", depth, one(["", "{{ caller(1) if caller else 'nc' }}", "{{ varargs }}{{ kwargs }}"])) + one(["", "{{ m(1) if m is defined }}"]),
            lambda: self.enclosed(f"call{one(['', '(q)', '(x, z=9)'])} m({one(['', '1', 'x'])})", "endcall", depth),
            lambda: self.enclosed(f"filter {one(['upper', 'trim', 'indent(2)'])}", "endfilter", depth),
            lambda: self.enclosed(f"with {one(['x=1', 'x=1, y=x', '', 'q=x, x=q'])}", "endwith", depth),
            lambda: self.block(depth),
            lambda: self.enclosed("generation", "endgeneration", depth),
            lambda: one(["{# c #}\n", "{#- c -#}", " {# x +#}\n", "{% raw %}{{ x }}{% endraw %}\n", "{% if undef %}{{ x|nofilter }}{% endif %}"]),
        ], [30, 15, 2, 9, 12, 4, 7, 5, 3, 4, 4, 2, 3])[0]()

    def block(self, depth):
        self.blocks += 1
        return self.enclosed(f"block b{self.blocks}{self.one(['', ' scoped'])}", "endblock", depth)

    def template(self):
        self.blocks = 0
        macros = "{% macro m(x='mx') %}<{{ x }}{{ caller(x) if caller }}>{% endmacro %}" + self.one(["", "{% macro m2(x) %}({{ x }}{{ y }}{{ q }}){% endmacro %}"])
        return self.one([macros, macros, ""]) + "".join(self.statement(self.draw.randint(1, 4)) for _ in range(self.draw.randint(1, 4))) + self.text()


def expressions(seed, count):
    draw = Expressions(random.Random(seed))
    return ["{{ " + draw.any(draw.draw.randint(1, 3)) + " }}" for _ in range(count)]


def statements(seed, count):
    draw = Statements(random.Random(seed))
    return [draw.template() for _ in range(count)]


if __name__ == "__main__":
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    templates = expressions(seed, count // 2) + statements(seed, count - count // 2)
    json.dump([{"template": template, "variables": VARIABLES} for template in templates], sys.stdout)
