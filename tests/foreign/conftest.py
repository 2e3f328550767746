"""Where the server is that tests/foreign/main.ts has started."""

import os
from dataclasses import dataclass

import httpx
import pytest


@dataclass(frozen=True)
class Server:
    """Answers at `base_url`, which ends in /v1, to callers with `api_key`."""

    base_url: str
    api_key: str
    model: str
    """Another name of the same model."""
    other_model: str
    max_model_len: int

    def metric(self, name: str) -> float:
        """One number out of /metrics."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        url = self.base_url.removesuffix("/v1") + "/metrics"
        for line in httpx.get(url, headers=headers).text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rsplit(" ", 1)[1])
        raise LookupError(name)


SERVER = Server(
    base_url=os.environ["HEARTH_TEST_URL"] + "/v1",
    api_key=os.environ["HEARTH_TEST_KEY"],
    model=os.environ["HEARTH_TEST_MODEL"],
    other_model=os.environ["HEARTH_TEST_OTHER_MODEL"],
    max_model_len=int(os.environ["HEARTH_TEST_MAX_MODEL_LEN"]),
)


@pytest.fixture
def server() -> Server:
    return SERVER
