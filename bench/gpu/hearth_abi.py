"""libhearth.so from Python: structs, constants and prototypes are read from csrc/hearth.h, so that
nothing is said twice. For the GPU machine, which has no Deno to begin with, and for peers of the
same process.
"""

import ctypes
import os
import re
import struct as packing
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_SCALARS = {
    "void": None,
    "uint32_t": ctypes.c_uint32,
    "int32_t": ctypes.c_int32,
    "hearth_status": ctypes.c_int32,
    "uint64_t": ctypes.c_uint64,
    "float": ctypes.c_float,
    "char": ctypes.c_char,
}


def _parse(header: str):
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    constants = {
        name: int(value, 0) for name, value in re.findall(r"#define (HEARTH_\w+) (\d+)\b", header)
    }
    for body in re.findall(r"\benum \{(.*?)\}", header, flags=re.S):
        for name, value in re.findall(r"(HEARTH_\w+) = (-?\d+)", body):
            constants[name] = int(value)
    structs = {}
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", header, flags=re.S):
        fields = []
        for type_name, field, count in re.findall(r"(\w+) (\w+)(?:\[(\d+)\])?;", body):
            kind = _SCALARS[type_name]
            fields.append((field, kind * int(count) if count else kind))
        structs[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    prototypes = {}
    for result, name, parameters in re.findall(
        r"HEARTH_API\s+([\w\s*]+?)(\w+)\(([^)]*)\)\s*;", header
    ):
        types = [re.sub(r"\w+\s*$", "", parameter) for parameter in parameters.split(",")]
        prototypes[name] = (_type(result), [_type(text) for text in types if text.strip()])
    return constants, structs, prototypes


def _type(text: str):
    """Of a parameter or result. Pointers are plain addresses: Structs, arrays and None fit."""
    return ctypes.c_void_p if "*" in text else _SCALARS[text.strip()]


CONSTANTS, STRUCTS, PROTOTYPES = _parse((ROOT / "csrc/hearth.h").read_text())


def constant(name: str) -> int:
    return CONSTANTS["HEARTH_" + name]


def make(name: str, **fields):
    """A struct of hearth.h with its size set."""
    value = STRUCTS["hearth_" + name]()
    value.size = ctypes.sizeof(value)
    for field, content in fields.items():
        if not hasattr(value, field):
            raise AttributeError(f"hearth_{name} has no field {field}")
        setattr(value, field, content)
    return value


class HearthError(RuntimeError):
    """Of a hearth_error: its message, and status, field, rule and value beside it."""

    def __init__(self, message: str, error=None):
        super().__init__(message)
        self.status = error.status if error is not None else 0
        parts = (error.field, error.rule, error.value) if error is not None else (b"", b"", b"")
        self.field, self.rule, self.value = (part.decode() for part in parts)


class Library:
    def __init__(self, path: str | None = None):
        self.path = path or os.environ.get("HEARTH_LIBRARY") or str(ROOT / "build/libhearth.so")
        self.c = ctypes.CDLL(self.path)
        for name, (result, parameters) in PROTOTYPES.items():
            function = getattr(self.c, name)
            function.restype, function.argtypes = result, parameters
        version = self.c.hearth_abi_version()
        if version != CONSTANTS["HEARTH_ABI_VERSION"]:
            raise HearthError(f"{self.path} has ABI version {version}, csrc/hearth.h another")

    def build_info(self) -> str:
        return self._text(self.c.hearth_build_info)

    def _text(self, call, *first) -> str:
        length = call(*first, None, 0)
        text = ctypes.create_string_buffer(length + 1)
        call(*first, text, length + 1)
        return text.value.decode()


class Flat:
    """The buffer beside a struct that holds what has no fixed length."""

    def __init__(self):
        self.bytes = bytearray()

    def add(self, content: bytes, alignment: int = 8) -> int:
        self.bytes += bytes(-len(self.bytes) % alignment)
        offset = len(self.bytes)
        self.bytes += content
        return offset

    def buffer(self):
        return (ctypes.c_uint8 * max(1, len(self.bytes))).from_buffer_copy(
            bytes(self.bytes) or b"\0"
        )


class Event:
    """A token or the end of a sequence, with the time it was polled at."""

    __slots__ = ("kind", "request", "token", "logprob", "top", "time", "text", "cached_tokens")


class Engine:
    """hearth_engine with its poll loop in the caller's thread."""

    def __init__(self, library: Library, model, device: str = "cuda", **options):
        """model: of models.py. options: fields of hearth_engine_options."""
        self.library = library
        self.model = model
        flat = Flat()
        spec, tensors, files = model.tables(flat)
        chosen = make(
            "engine_options",
            device_kind=constant("DEVICE_" + device.upper()),
            activation_dtype=constant("DTYPE_AUTO"),
            kv_cache_dtype=constant("DTYPE_AUTO"),
            num_tensors=len(tensors),
            num_files=len(files),
        )
        for field, value in options.items():
            if not hasattr(chosen, field):
                raise AttributeError(f"hearth_engine_options has no field {field}")
            setattr(chosen, field, value)
        chosen.flat_bytes = len(flat.bytes)
        self.handle = ctypes.c_void_p()
        self._events = (STRUCTS["hearth_event"] * 512)()
        self._payload = (ctypes.c_uint8 * (1 << 20))()
        self.opened_at = time.perf_counter()
        self._call(
            "hearth_engine_open",
            ctypes.byref(chosen),
            ctypes.byref(spec),
            (STRUCTS["hearth_tensor"] * len(tensors))(*tensors),
            (STRUCTS["hearth_file"] * len(files))(*files),
            flat.buffer(),
            ctypes.byref(self.handle),
        )

    def _call(self, name: str, *arguments):
        error = make("error")
        status = getattr(self.library.c, name)(*arguments, ctypes.byref(error))
        if status != 0:
            raise HearthError(f"{name}: {error.message.decode()} ({status})", error)

    def wait_ready(self, timeout: float = 120) -> float:
        """Seconds since the call that opened it."""
        for event in self.poll_until(timeout):
            if event.kind == constant("EVENT_READY"):
                return event.time - self.opened_at
            if event.kind == constant("EVENT_FAILED"):
                raise HearthError(event.text)
        raise HearthError("the engine did not become ready")

    def submit(self, tokens, max_tokens: int, bias=(), bad_words=(), **fields) -> int:
        """A greedy request past the end of text; returns its id. bias: pairs of a token and a number.
        bad_words: lists of tokens. fields: others of hearth_request_options."""
        flat = Flat()
        ids = [number for word in bad_words for number in (len(word), *word)]
        defaults = dict(
            num_sequences=1,
            max_tokens=max_tokens,
            top_p=1.0,
            repetition_penalty=1.0,
            logprobs=-1,
            prompt_logprobs=-1,
            has_seed=1,
            seed=1,
            logit_bias_offset=flat.add(b"".join(packing.pack("<If", *pair) for pair in bias)),
            logit_bias_count=len(bias),
            bad_words_offset=flat.add(packing.pack(f"<{len(ids)}I", *ids)),
            bad_words_count=len(ids),
        )
        options = make("request_options", **defaults | fields, flat_bytes=len(flat.bytes))
        request = ctypes.c_uint64()
        self._call(
            "hearth_submit",
            self.handle,
            (ctypes.c_uint32 * len(tokens))(*tokens),
            len(tokens),
            ctypes.byref(options),
            flat.buffer(),
            ctypes.byref(request),
        )
        return request.value

    def poll(self, timeout_ms: int = 1000) -> list:
        count = self.library.c.hearth_poll(
            self.handle,
            self._events,
            ctypes.sizeof(STRUCTS["hearth_event"]),
            len(self._events),
            self._payload,
            len(self._payload),
            timeout_ms,
        )
        now = time.perf_counter()
        if count < 0:
            raise HearthError(f"hearth_poll: status {count}")
        return [event for raw in self._events[:count] for event in self._events_of(raw, now)]

    def _events_of(self, raw, now: float) -> list:
        """One event a token, one for all else."""
        begin, size = raw.payload_offset, raw.payload_bytes
        payload = bytes(self._payload[begin : begin + size]) if size else b""
        failed = raw.kind in (constant("EVENT_ERROR"), constant("EVENT_FAILED"))
        text = STRUCTS["hearth_error"].from_buffer_copy(payload).message.decode() if failed else ""
        entries = [] if failed else list(packing.iter_unpack("<If", payload))
        more = max(raw.num_tokens - 1, 0)
        tops = [entries[more + i * raw.num_top :][: raw.num_top] for i in range(more + 1)]
        events = []
        for (token, logprob), top in zip([(raw.token, raw.logprob), *entries[:more]], tops):
            event = Event()
            event.kind, event.request, event.time, event.text = raw.kind, raw.request, now, text
            event.token, event.logprob, event.top = token, logprob, top
            event.cached_tokens = raw.cached_tokens
            events.append(event)
        return events

    def poll_until(self, timeout: float):
        """Events as they come, for so many seconds at most."""
        deadline = time.perf_counter() + timeout
        while (left := deadline - time.perf_counter()) > 0:
            yield from self.poll(max(1, min(1000, int(left * 1000))))

    def generate(self, prompts, max_tokens: int, timeout: float = 120, **options):
        """Runs prompts together. Returns the events of each, and when they were submitted."""
        submitted = time.perf_counter()
        requests = [self.submit(tokens, max_tokens, **options) for tokens in prompts]
        events = {request: [] for request in requests}
        running = set(requests)
        for event in self.poll_until(timeout):
            if event.request not in events:
                continue
            if event.kind == constant("EVENT_ERROR"):
                raise HearthError(event.text)
            if event.kind == constant("EVENT_FINISH"):
                running.discard(event.request)
                if not running:
                    return [events[request] for request in requests], submitted
            else:
                events[event.request].append(event)
        left = f"{len(running)} of {len(requests)} requests"
        raise HearthError(f"{left} did not finish in {timeout} s")

    def stats(self):
        stats = make("engine_stats")
        status = self.library.c.hearth_stats(self.handle, ctypes.byref(stats))
        if status != 0:
            raise HearthError(f"hearth_stats: status {status}")
        return stats

    def describe(self) -> str:
        return self.library._text(self.library.c.hearth_engine_describe, self.handle)

    def close(self):
        self.library.c.hearth_engine_close(self.handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def tokens_of(events) -> list:
    """The tokens of a sequence's events, in order."""
    return [event for event in events if event.kind == constant("EVENT_TOKEN")]
