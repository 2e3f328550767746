"""One table of a result.jsonl of run.sh: report.py FILE...

Workload, limit, the best peer of the run, ours, the limit over ours, the peer over ours, and what the
acceptance asks: decode linear by its worst tokens of M <= 16 and of all, attention by its rate.
"""

import sys

from gate import LEAST_FUSED_GAIN
from results import read_results


def cell(value, pattern: str = "{:.2f}") -> str:
    return "-" if value is None else pattern.format(value)


def ratio(a, b):
    return a / b if a and b else None


def linear_rows(records: list):
    shapes = {}
    for r in records:
        if r["workload"] == "decode_linear":
            shapes.setdefault((r["model"], r["op"]), {})[int(r["m"])] = r
    for (model, op), by_m in shapes.items():
        few = {m: r for m, r in by_m.items() if m <= 16}
        for m in sorted(m for m in by_m if m in (1, 12, 16, 64)):
            r = by_m[m]
            over = max(x["ours_us"] - x["floor_us"] for x in few.values()) if m == 1 else None
            note = f"worst of M <= 16: floor + {over:.1f} us" if over is not None else ""
            yield (
                f"linear {model} {op}, M = {m}",
                r["floor_us"],
                r.get("cublas_us"),
                r["ours_us"],
                "us",
                note,
            )
    for r in records:
        if r["workload"] == "prefill_linear":
            yield (
                f"linear {r['model']} {r['op']}, M = {int(r['m'])}",
                r.get("floor_us"),
                r.get("cublas_us"),
                r["ours_us"],
                "us",
                "",
            )


def attention_rows(records: list):
    peers = {}
    for r in records:
        if r["workload"] == "attention_peer":
            peers.setdefault((r["kind"], r["shape"]), {})[r["backend"]] = r["us"]
    for r in records:
        if r["workload"] not in ("attention_decode", "attention_prefill"):
            continue
        theirs = peers.get((r["workload"].removeprefix("attention_"), r["shape"]), {})
        fused = {k: v for k, v in theirs.items() if k != "unfused"}
        best = min(fused, key=fused.get, default=None)
        gain = ratio(theirs.get("unfused"), r["ours_us"])
        note = f"{best}; " if best else ""
        note += f"{gain:.1f} x unfused (must: {LEAST_FUSED_GAIN}); " if gain else ""
        note += f"occupancy {r['occupancy'] * 100:.0f} %"
        yield (
            f"{r['workload'].replace('_', ' ')} {r['shape']} {r['kernel']}",
            r.get("floor_us"),
            fused.get(best),
            r["ours_us"],
            "us",
            note,
        )


def model_rows(records: list):
    peers = [r for r in records if r["workload"] == "transformers"]
    for r in records:
        if "step_ms" not in r or "mode" in r or r["workload"] == "warm-up":
            continue
        theirs = [p["step_ms"] for p in peers if r["workload"] == f"W2 {p['context']}"]
        note = f"{r['tokens_per_second']:.0f} tok/s, TTFT {r['ttft_ms']:.0f} ms, idle {r['idle'] * 100:.1f} %, "
        note += f"{r['launches_per_step']:.1f} launches a step"
        for key, pattern in (
            ("joules_per_token", ", {:.2f} J a token"),
            ("watts", ", {:.0f} W"),
        ):
            note += pattern.format(r[key]) if r.get(key) else ""
        if r.get("peak_memory_bytes"):
            note += f", {r['peak_memory_bytes'] / 1e9:.1f} GB"
        yield (
            r["workload"],
            r.get("floor_ms"),
            min(theirs, default=None),
            r["step_ms"],
            "ms",
            note,
        )
    for r in records:
        if r["workload"].endswith(" start"):
            yield (
                f"{r['workload']} to ready",
                None,
                None,
                r["open_to_ready_s"],
                "s",
                f"{r['process_to_ready_s']:.2f} s from the process's start",
            )


def main():
    records = [record for path in sys.argv[1:] for record in read_results(path)]
    for r in records:
        if r["workload"] == "meta":
            print({k: v for k, v in r.items() if k != "workload"})
        elif r["workload"] == "read":
            print(f"read, {r['how']}: {r['bytes_per_second'] * 1e-12:.3f} TB/s")
        elif r["workload"] == "gemm":
            print(f"fp16 product: {r['flops_per_second'] * 1e-12:.0f} TFLOP/s")
        elif r["workload"] == "link":
            print(
                f"link: {r['to_device'] * 1e-9:.1f} to the device, {r['to_host'] * 1e-9:.1f} back, GB/s"
            )
        elif r["workload"] == "transformers_check":
            print(
                f"{r['model']}, {r['layers']} of {r['all_layers']} layers against Transformers: "
                f"{'ok' if r['passes'] else 'FAILED'}, {r['worst_of_allowed']:.2f} of what is allowed"
            )
    rows = [("", "limit", "peer", "ours", "of limit", "x peer", "")]
    for name, limit, peer, ours, unit, note in (
        *linear_rows(records),
        *attention_rows(records),
        *model_rows(records),
    ):
        rows.append(
            (
                name,
                cell(limit),
                cell(peer),
                f"{ours:.2f} {unit}",
                cell(ratio(limit, ours)),
                cell(ratio(peer, ours)),
                note,
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in range(1, 6)), row[6]]
        print("  ".join(cells).rstrip())


main()
