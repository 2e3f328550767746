"""A model from files in the page cache to ready, and to its first token (design, section 9, W5):

    cold_start.py make FOLDER [--layers N]    writes a checkpoint of Llama-2-13B's shapes
    cold_start.py time FOLDER [--library PATH] [--json FILE] [--rounds N]

`make` repeats 64 MiB of random weights: what matters is where bytes lie, not what they are. `time`
reads the files once, then opens the model N times and prints each time beside the floor, which is
the bytes over the rate of copies from page-locked host memory.
"""

import argparse
import json
import os
import struct
import time
from pathlib import Path

from hearth_abi import Engine, Library
from models import LLAMA_2_13B, Model
from results import Results

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("what", choices=["make", "time"])
parser.add_argument("folder", type=Path)
parser.add_argument("--layers", type=int, default=LLAMA_2_13B["num_hidden_layers"])
parser.add_argument("--library")
parser.add_argument("--json")
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()

PIECE = 64 << 20


def make_checkpoint():
    """One safetensors file of fp16 in [-1/128, 1/128)."""
    config = {**LLAMA_2_13B, "num_hidden_layers": args.layers}
    model = Model(config)
    header, offset = {}, 0
    for role, _, name in model._roles():
        shape = model._shape(role)
        size = 2
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / "config.json").write_text(json.dumps(config))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # Halves with an exponent of 2 ^ -8: finite, and small enough that sums stay so.
    raw = bytearray(os.urandom(PIECE))
    raw[1::2] = bytes((byte & 0x83) | 0x1C for byte in raw[1::2])
    begun = time.perf_counter()
    with open(args.folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for at in range(0, offset, PIECE):
            file.write(memoryview(raw)[: min(PIECE, offset - at)])
    print(f"{offset / 1e9:.1f} GB in {time.perf_counter() - begun:.1f} s", flush=True)


def read_once(path: Path) -> float:
    """Bytes a second."""
    begun, size = time.perf_counter(), 0
    buffer = bytearray(16 << 20)
    with open(path, "rb", buffering=0) as file:
        while got := file.readinto(buffer):
            size += got
    return size / (time.perf_counter() - begun)


def copy_rate() -> float | None:
    """Bytes a second from page-locked host memory, by PyTorch; None where there is none."""
    try:
        import torch
    except ImportError:
        return None
    host = torch.empty(256 << 20, dtype=torch.uint8, pin_memory=True)
    device = torch.empty_like(host, device="cuda")
    best = 0.0
    for _ in range(5):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        device.copy_(host, non_blocking=True)
        torch.cuda.synchronize()
        best = max(best, host.numel() / (time.perf_counter() - begun))
    return best


def time_openings():
    library, model, results = Library(args.library), Model.load(args.folder), Results(args.json)
    for path in args.folder.glob("*.safetensors"):
        print(f"one thread reads the file at {read_once(path) / 1e9:.1f} GB/s", flush=True)
    rate = copy_rate()
    for _ in range(args.rounds):
        with Engine(library, model, max_model_len=2048, max_num_seqs=4) as engine:
            ready = engine.wait_ready()
            stats = engine.stats()
            submitted = time.perf_counter()
            engine.generate([[1, 2, 3, 4]], 1)
            first = time.perf_counter() - submitted
        floor = stats.bytes_total / rate if rate else None
        figures = {
            "open_to_ready_s": ready,
            "load_s": stats.load_microseconds * 1e-6,
            "first_token_s": first,
            "bytes": stats.bytes_total,
            "gigabytes_per_second": stats.bytes_total / stats.load_microseconds * 1e-3,
            "floor_s": floor,
        }
        results.write("cold_start", **figures)
        print(
            f"ready {ready:.2f} s after open, {figures['gigabytes_per_second']:.1f} GB/s; first "
            f"token {first * 1e3:.0f} ms later"
            + (f"; floor {floor:.2f} s ({rate / 1e9:.1f} GB/s)" if floor else ""),
            flush=True,
        )


make_checkpoint() if args.what == "make" else time_openings()
