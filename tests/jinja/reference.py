"""jinja2 as Transformers 5.24 sets it up for chat templates (`transformers.utils.chat_template_utils`),
its clock at 2026-11-29 15:04:05. usage: reference.py < cases.json > outcomes.json

A case has a template and variables; an outcome has a text, or a refusal with jinja2's words.
"""
import json
import sys
from datetime import datetime

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime(2026, 11, 29, 15, 4, 5)


class Generation(jinja2.ext.Extension):
    """`{% generation %}`: what it holds, as a call block writes it."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _write(self, context, caller):
        return caller()


class TemplateDict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args, **kwargs):
        return dict.fromkeys(*args, **kwargs)


class TemplateNamespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            TemplateNamespace._check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name, value):
        TemplateNamespace._check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"underscore-prefixed: {name!r}")


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = NOW.strftime
    made.globals["dict"] = TemplateDict()
    made.globals["namespace"] = TemplateNamespace
    return made


ENVIRONMENT = environment()
COMPILED = {}


def render(template, variables):
    try:
        if template not in COMPILED:
            COMPILED[template] = ENVIRONMENT.from_string(template)
        return {"text": COMPILED[template].render(**variables)}
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}"[:200]}


if __name__ == "__main__":
    json.dump([render(case["template"], case["variables"]) for case in json.load(sys.stdin)], sys.stdout)
