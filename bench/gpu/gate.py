"""Refuses a result that lost speed: gate.py BEFORE.jsonl AFTER.jsonl [--allowed 0.05]

Both are result.jsonl files of run.sh, best from one machine, since cards differ: times are compared
as ratios to their floors where both have one. Exits 1 where a workload that both hold lost more than
allowed, or where fused attention is under 1.3 x the unfused PyTorch baseline of its own run; under
0.8 of what reading K and V would gain, where that is less: of one query nothing else is to be gained.
"""

import argparse
import sys

from results import read_results

LEAST_FUSED_GAIN = 1.3
LEAST_OF_FLOOR = 0.8
# What is measured, its floor, and what tells one record of a workload from another.
TIMES = {
    "decode_linear": ("ours_us", "floor_us", ("model", "op", "m")),
    "prefill_linear": ("ours_us", "floor_us", ("model", "op", "m")),
    "attention_decode": ("ours_us", "floor_us", ("shape", "kernel")),
    "attention_prefill": ("ours_us", "floor_us", ("shape", "kernel")),
}
STEPS = ("step_ms", "floor_ms", ())
SKIPPED = {"warm-up"}


def times(records: list) -> dict:
    """Time and time over floor by workload; of several runs in a file, the fastest."""
    found = {}
    for record in records:
        workload = record["workload"]
        if workload in SKIPPED or "mode" in record:  # peers
            continue
        time_key, floor_key, names = TIMES.get(workload, STEPS)
        if time_key not in record:
            continue
        key = " ".join([workload, *(str(record[name]) for name in names)])
        floor = record.get(floor_key)
        figure = (record[time_key], record[time_key] / floor if floor else None)
        found[key] = min(found.get(key, figure), figure)
    return found


def losses(before: list, after: list, allowed: float):
    old, new = times(before), times(after)
    for key in sorted(old.keys() & new.keys()):
        over_floor = old[key][1] is not None and new[key][1] is not None
        ratio = new[key][over_floor] / old[key][over_floor]
        if ratio > 1 + allowed:
            yield f"{key}: {old[key][0]:.4g} to {new[key][0]:.4g}, {(ratio - 1) * 100:.1f} % slower"


def fused_faults(records: list):
    unfused = {
        (r["kind"], r["shape"]): r["us"]
        for r in records
        if r["workload"] == "attention_peer" and r["backend"] == "unfused"
    }
    for key, (ours, over_floor) in times(records).items():
        for (kind, shape), theirs in unfused.items():
            if not key.startswith(f"attention_{kind} {shape} ") or key.endswith("sm80"):
                continue
            gain, least = theirs / ours, LEAST_FUSED_GAIN
            if over_floor:
                least = min(least, gain * over_floor * LEAST_OF_FLOOR)
            if gain < least:
                yield f"{key}: {gain:.2f} x the unfused baseline, not {least:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--allowed", type=float, default=0.05)
    args = parser.parse_args()
    before, after = read_results(args.before), read_results(args.after)
    faults = [*losses(before, after, args.allowed), *fused_faults(after)]
    compared = len(times(before).keys() & times(after).keys())
    for fault in faults:
        print("✗", fault)
    print(f"{compared} workloads compared, {len(faults)} faults")
    return int(bool(faults) or compared == 0)


if __name__ == "__main__":
    sys.exit(main())
