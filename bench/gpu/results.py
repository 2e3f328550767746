"""Figures as lines of JSON, and what the device was doing meanwhile (NVML)."""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Results:
    """Appends to a file, if there is one to append to."""

    def __init__(self, path: str | None):
        self.path = path

    def write(self, workload: str, **figures):
        if self.path:
            with open(self.path, "a") as file:
                file.write(json.dumps({"workload": workload, **figures}) + "\n")


def read_results(path) -> list:
    return [json.loads(line) for line in Path(path).read_text().splitlines() if line.strip()]


def read_ceiling(path: str | None) -> float | None:
    """The best read rate of a gpu_bench run, bytes/s."""
    if not path or not os.path.exists(path):
        return None
    rates = [r["bytes_per_second"] for r in read_results(path) if r["workload"] == "read"]
    return max(rates, default=None)


def commit() -> str:
    carried = Path("/tmp/hearth/build/commit")
    if carried.exists():
        return carried.read_text().strip()
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return described.stdout.strip() or "unknown"


class Device:
    """NVML's view of GPU 0. Without NVML every figure is None."""

    def __init__(self):
        try:
            import pynvml

            pynvml.nvmlInit()
            self.nvml = pynvml
            self.handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        except Exception:  # no driver, or no package
            self.nvml = None

    def _ask(self, call: str, *arguments):
        if self.nvml is None:
            return None
        try:
            return getattr(self.nvml, call)(self.handle, *arguments)
        except self.nvml.NVMLError:
            return None

    def name(self):
        return self._ask("nvmlDeviceGetName")

    def millijoules(self):
        return self._ask("nvmlDeviceGetTotalEnergyConsumption")

    def memory_bytes(self):
        info = self._ask("nvmlDeviceGetMemoryInfo")
        return info and info.used

    def clocks(self) -> dict:
        if self.nvml is None:
            return {}
        return {
            "sm_mhz": self._ask("nvmlDeviceGetClockInfo", self.nvml.NVML_CLOCK_SM),
            "memory_mhz": self._ask("nvmlDeviceGetClockInfo", self.nvml.NVML_CLOCK_MEM),
        }

    def driver(self):
        try:
            return self.nvml and self.nvml.nvmlSystemGetDriverVersion()
        except self.nvml.NVMLError:
            return None


class Meter:
    """Energy, power, clocks and memory of what runs in a `with` block."""

    def __init__(self, device: Device):
        self.device = device
        self.peak_memory = self.joules = self.watts = None
        self.clocks = {}

    def __enter__(self):
        self._stopped = threading.Event()
        self._begin = (time.perf_counter(), self.device.millijoules())
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self):
        while not self._stopped.wait(0.05):
            used = self.device.memory_bytes()
            self.peak_memory = max(self.peak_memory or 0, used or 0) or None
            clocks = self.device.clocks()
            if clocks.get("sm_mhz"):
                self.clocks = clocks

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()
        seconds = time.perf_counter() - self._begin[0]
        after = self.device.millijoules()
        if after is not None and self._begin[1] is not None:
            self.joules = (after - self._begin[1]) / 1000
            self.watts = self.joules / seconds

    def figures(self, tokens: int) -> dict:
        return {
            "joules_per_token": self.joules and self.joules / tokens,
            "watts": self.watts,
            "peak_memory_bytes": self.peak_memory,
            **self.clocks,
        }
