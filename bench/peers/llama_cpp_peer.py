"""llama.cpp through PyPI's llama-cpp-python, as a peer that takes turns with ours.

Reads one JSON request a line from stdin and answers one a line on stdout:

    {"op": "prefill", "num_tokens": 512}                     -> {"seconds": s}
    {"op": "decode", "batch": 8, "num_tokens": 64}           -> {"seconds": s}  of num_tokens steps

Requests time the library's own calls: no HTTP, no tokenizer, no sampling but the arg max.
Usage: llama_cpp.py MODEL.gguf NUM_THREADS
"""

import json
import os
import random
import sys
import time

protocol = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever the library prints goes to stderr

import llama_cpp as ll  # noqa: E402
import numpy as np  # noqa: E402

MAX_SEQUENCES = 8
CONTEXT_LEN = 1024  # of a sequence


class Peer:
    def __init__(self, path: str, num_threads: int):
        ll.llama_backend_init()
        model_params = ll.llama_model_default_params()
        model_params.n_gpu_layers = 0
        self.model = ll.llama_model_load_from_file(path.encode(), model_params)
        if not self.model:
            raise SystemExit(f"Cannot load {path}")
        params = ll.llama_context_default_params()
        params.n_ctx = MAX_SEQUENCES * CONTEXT_LEN
        params.n_batch = 2048
        params.n_ubatch = 512
        params.n_seq_max = MAX_SEQUENCES
        params.n_threads = params.n_threads_batch = num_threads
        self.context = ll.llama_init_from_model(self.model, params)
        self.vocab_size = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(self.model))
        self.batch = ll.llama_batch_init(2048, 0, 1)

    def run(self, rows):
        """rows: (token, position, sequence, wants logits)"""
        for i, (token, position, sequence, wants_logits) in enumerate(rows):
            self.batch.token[i] = token
            self.batch.pos[i] = position
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = sequence
            self.batch.logits[i] = wants_logits
        self.batch.n_tokens = len(rows)
        status = ll.llama_decode(self.context, self.batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")

    def arg_max(self, row: int) -> int:
        logits = ll.llama_get_logits_ith(self.context, row)
        return int(np.argmax(np.ctypeslib.as_array(logits, shape=(self.vocab_size,))))

    def clear(self):
        ll.llama_memory_clear(ll.llama_get_memory(self.context), True)

    def prefill(self, num_tokens: int) -> float:
        self.clear()
        prompt = [random.randrange(1000, 40000) for _ in range(num_tokens)]
        start = time.perf_counter()
        self.run([(t, i, 0, i == num_tokens - 1) for i, t in enumerate(prompt)])
        self.arg_max(num_tokens - 1)
        return time.perf_counter() - start

    def decode(self, batch: int, num_tokens: int, prompt_len: int = 16) -> float:
        self.clear()
        tokens = []
        for sequence in range(batch):
            prompt = [random.randrange(1000, 40000) for _ in range(prompt_len)]
            self.run([(t, i, sequence, i == prompt_len - 1) for i, t in enumerate(prompt)])
            tokens.append(self.arg_max(prompt_len - 1))
        start = time.perf_counter()
        for step in range(num_tokens):
            self.run([(tokens[s], prompt_len + step, s, True) for s in range(batch)])
            tokens = [self.arg_max(s) for s in range(batch)]
        return time.perf_counter() - start


def main():
    peer = Peer(sys.argv[1], int(sys.argv[2]))
    peer.decode(1, 4)
    print(json.dumps({"ready": True, "version": ll.__version__}), file=protocol, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] == "prefill":
            seconds = peer.prefill(request["num_tokens"])
        else:
            seconds = peer.decode(request["batch"], request["num_tokens"])
        print(json.dumps({"seconds": seconds}), file=protocol, flush=True)


if __name__ == "__main__":
    main()
