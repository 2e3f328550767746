/*
 * hearth.h: the C ABI of libhearth.so. What is not in this header is not API.
 *
 * Structs
 *   - Every struct begins with `uint32_t size`, which the caller sets to its own sizeof, 4096 at
 *     most. New fields are only ever appended, so that a caller and a library of different age
 *     understand each other:
 *       in   (the library reads it)   A smaller struct is taken down to the size of the struct's
 *            first version, and the fields that it lacks are 0, which is their default. A larger
 *            one is taken as long as what this library does not know of it is 0.
 *       out  (the library writes it)  The library writes min(the caller's size, its own) bytes, and
 *            sets `size` to that number. Bytes behind are left as they were: who sets them to 0
 *            before the call reads 0 for what an older library does not know.
 *   - Arrays of in structs have one stride, the size of their first element; arrays of out structs
 *     have theirs as a parameter.
 *   - What will never grow (hearth_logit_bias, hearth_token_logprob, hearth_option_group) has no
 *     size.
 *   - No struct holds a pointer. Variable-length parts lie in one flat buffer beside the struct and
 *     are addressed by (offset in bytes, count in elements); every range is checked; offsets are
 *     multiples of the element size.
 *
 * Errors
 *   - Calls whose failure needs words take `hearth_error* error`, an out struct of the caller's,
 *     untouched on success; NULL: the status alone is wanted. The others return a status alone.
 *   - Nothing aborts and nothing throws across this border.
 *
 * Memory and threads
 *   - Memory that is passed in is copied before the call returns, except for hearth_poll's buffers,
 *     which must stay valid until it returns.
 *   - Every call may come from any thread; hearth_poll from one thread at a time.
 */
#ifndef HEARTH_H
#define HEARTH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HEARTH_API __attribute__((visibility("default")))

/**
 * Raised when a caller that was made for the header before would be misunderstood: a prototype
 * changes, a field or an enumerator changes its place or its meaning, an event comes that it does
 * not know. Fields appended to a struct, new functions and option groups, and whatever comes only
 * to a caller who asked for it, do not raise it.
 */
#define HEARTH_ABI_VERSION 3

/**
 * Names the numerics: raised whenever any token or log probability gets other bits on purpose, on
 * any device. tests/bits/ holds the bits that belong to it; docs/architecture.md says what to do.
 */
#define HEARTH_NUMERICS 1

typedef int32_t hearth_status;
enum {
  HEARTH_OK = 0,
  HEARTH_INVALID_ARGUMENT = -1, /* hearth_error names the field, the rule and the value */
  HEARTH_QUEUE_FULL = -2,       /* nothing was queued; hearth_stats.expected_wait_ms tells when */
  HEARTH_CLOSING = -3,          /* the engine drains and takes no new requests */
  HEARTH_CLOSED = -4,           /* the engine has stopped; only hearth_engine_close is left */
  HEARTH_OUT_OF_MEMORY = -5,    /* the message says how much is needed and which option lowers it */
  HEARTH_IO_ERROR = -6,         /* a weights file cannot be read or is too short */
  HEARTH_UNSUPPORTED = -7,      /* valid, but not by this build, device or model */
  HEARTH_NOT_FOUND = -8,        /* no such request */
  HEARTH_NOT_READY = -9,        /* the weights are still loading */
  HEARTH_DEADLINE = -10,        /* the deadline cannot be met; nothing was queued */
  HEARTH_INTERNAL = -11,        /* a defect of the library; the message says where */
  HEARTH_DEVICE_LOST = -12 /* the device is gone for this process: only a new one gets it back */
};

/**
 * Why a call or a request failed. The texts are UTF-8, end in NUL and are cut between two
 * characters where they are too long. Where a field breaks a rule, the message is made of the
 * parts: "Cannot ...: {field} must {rule}: current value is {value}". out, but with a size below
 * 2048 the call is refused, since a text would lose its NUL. 2048 bytes.
 */
typedef struct hearth_error {
  uint32_t size;
  hearth_status status; /* never HEARTH_OK */
  char field[64];       /* by its name in this header, or a tensor; empty: none in particular */
  char rule[256];       /* what follows "must": "be 0 to 65536"; empty without a field */
  char value[192];      /* what the field held, as text; empty where there is nothing to show */
  char message[1528];   /* the whole sentence, for people */
} hearth_error;

typedef struct hearth_engine hearth_engine;

/* ------------------------------------------------------------------------- the library */

/** HEARTH_ABI_VERSION of the library, to be compared with that of the header used. */
HEARTH_API uint32_t hearth_abi_version(void);

/**
 * One line of text: version, numerics, commit, compiler, instruction sets and GPU code compiled in.
 * Writes at most capacity bytes, NUL included; returns the length without NUL (snprintf's rule).
 */
HEARTH_API int32_t hearth_build_info(char* text, uint32_t capacity);

enum { HEARTH_DEVICE_AUTO = 0, HEARTH_DEVICE_CPU = 1, HEARTH_DEVICE_CUDA = 2 };

/** Instruction paths of the CPU backend, worst to best. AUTO takes the best the CPU has. */
enum {
  HEARTH_ISA_AUTO = 0,
  HEARTH_ISA_GENERIC = 1, /* plain C++ */
  HEARTH_ISA_AVX2 = 2,    /* AVX2, FMA, F16C */
  HEARTH_ISA_AVX512 = 3,  /* AVX-512 F, BW, VL, DQ, VNNI */
  HEARTH_ISA_AMX = 4      /* AVX512 and AMX-INT8 */
};

/** A device this process can run on. out. 152 bytes. */
typedef struct hearth_device {
  uint32_t size;
  uint32_t kind;      /* HEARTH_DEVICE_CPU or _CUDA */
  uint32_t index;     /* among its kind */
  uint32_t best_isa;  /* CPU: best HEARTH_ISA_*; CUDA: compute capability, 90 for 9.0 */
  uint32_t num_cores; /* CPU: cores this process may use; CUDA: multiprocessors */
  uint32_t reserved;
  uint64_t memory_bytes; /* total; CPU: respects the cgroup's limit */
  uint64_t free_bytes;   /* CUDA: memory_bytes where the driver does not tell (no NVML) */
  char name[112];        /* UTF-8, NUL-terminated */
} hearth_device;

/**
 * Fills at most capacity devices, device_size bytes apart (the caller's sizeof(hearth_device)).
 * Returns how many there are, or HEARTH_INVALID_ARGUMENT.
 */
HEARTH_API int32_t hearth_devices(hearth_device* devices, uint32_t device_size, uint32_t capacity);

/* ---------------------------------------------------------------------------- the model */

enum {
  HEARTH_DTYPE_F32 = 0,
  HEARTH_DTYPE_F16 = 1,
  HEARTH_DTYPE_BF16 = 2,
  HEARTH_DTYPE_Q8_0 = 3, /* GGUF: 32 values: f16 scale, 32 i8 */
  HEARTH_DTYPE_Q4_0 = 4, /* GGUF: 32 values: f16 scale, 16 bytes of nibbles, minus 8 */
  HEARTH_DTYPE_Q4_1 = 5, /* GGUF: 32 values: f16 scale, f16 minimum, 16 bytes of nibbles */
  HEARTH_DTYPE_INT8 = 6, /* activations only: symmetric i8 with one f32 scale per 32 values */
  HEARTH_DTYPE_Q6_K = 7, /* GGUF: 256 values in 16 groups; weights only, which are kept as F16 */
  HEARTH_DTYPE_AUTO = 255
};

enum { HEARTH_NORM_RMS = 1, HEARTH_NORM_LAYER = 2 };
enum {
  HEARTH_ACTIVATION_SILU = 1,
  HEARTH_ACTIVATION_GELU_TANH = 2,
  HEARTH_ACTIVATION_RELU = 3,
  HEARTH_ACTIVATION_GELU = 4
};
enum { HEARTH_POSITION_ROPE = 1, HEARTH_POSITION_LEARNED = 2 };
/** HALF pairs (i, i + rope_dim/2), as Hugging Face checkpoints; INTERLEAVED pairs (2i, 2i + 1), as
 *  GGUF files of architecture llama. */
enum { HEARTH_ROPE_HALF = 1, HEARTH_ROPE_INTERLEAVED = 2 };

/** One description for all families. Shapes as in config.json. in. 112 bytes. */
typedef struct hearth_model_spec {
  uint32_t size;
  uint32_t vocab_size;
  uint32_t hidden_size;
  uint32_t embedding_size; /* of the token embedding; not hidden_size where it is projected */
  uint32_t intermediate_size;
  uint32_t num_layers;
  uint32_t num_heads;
  uint32_t num_kv_heads; /* divides num_heads */
  uint32_t head_dim;     /* even, at most 256 */
  uint32_t max_position; /* longest context the model was made for, in tokens */
  uint32_t norm_kind;
  uint32_t norm_after; /* 0: norm before each sublayer; 1: after the residual (OPT-350m) */
  uint32_t activation;
  uint32_t gated; /* 1: down(act(gate x) * up x); 0: down(act(up x)) */
  uint32_t position_kind;
  uint32_t position_offset; /* added to the position before the learned lookup (OPT: 2) */
  uint32_t rope_style;
  uint32_t rope_dim;       /* leading dimensions of a head that rotate; even; 0 without RoPE */
  uint32_t sliding_window; /* a token sees itself and the window - 1 tokens before it; 0: all */
  uint32_t sliding_window_first_layer; /* layers before this one see all */
  float norm_eps;
  float attention_scale;         /* multiplies q . k; usually 1/sqrt(head_dim) */
  float rope_scale;              /* multiplies cos and sin (YaRN's attention factor); usually 1 */
  uint32_t tied_embeddings;      /* 1: the lm_head is the token embedding, no LM_HEAD tensor */
  uint32_t rope_inv_freq_offset; /* f32[rope_dim/2] in the flat buffer, RoPE scaling applied */
  uint32_t rope_inv_freq_count;
  uint64_t fingerprint; /* names the weights: distinguishes models in names of KV blocks */
} hearth_model_spec;

/** What a tensor is to the model. Weights are [out, in], row-major. */
enum {
  HEARTH_TENSOR_TOKEN_EMBEDDING = 1,    /* [vocab, embedding_size] */
  HEARTH_TENSOR_POSITION_EMBEDDING = 2, /* [positions + position_offset, hidden] */
  HEARTH_TENSOR_PROJECT_IN = 3,         /* [hidden, embedding_size] */
  HEARTH_TENSOR_PROJECT_OUT = 4,        /* [embedding_size, hidden] */
  HEARTH_TENSOR_FINAL_NORM_WEIGHT = 5,  /* [hidden]; absent with norm_after */
  HEARTH_TENSOR_FINAL_NORM_BIAS = 6,
  HEARTH_TENSOR_LM_HEAD = 7, /* [vocab, embedding_size] */
  /* of a layer: */
  HEARTH_TENSOR_ATTENTION_NORM_WEIGHT = 16, /* [hidden] */
  HEARTH_TENSOR_ATTENTION_NORM_BIAS = 17,
  HEARTH_TENSOR_Q_WEIGHT = 18, /* [num_heads * head_dim, hidden] */
  HEARTH_TENSOR_Q_BIAS = 19,
  HEARTH_TENSOR_K_WEIGHT = 20, /* [num_kv_heads * head_dim, hidden] */
  HEARTH_TENSOR_K_BIAS = 21,
  HEARTH_TENSOR_V_WEIGHT = 22, /* [num_kv_heads * head_dim, hidden] */
  HEARTH_TENSOR_V_BIAS = 23,
  HEARTH_TENSOR_O_WEIGHT = 24, /* [hidden, num_heads * head_dim] */
  HEARTH_TENSOR_O_BIAS = 25,
  HEARTH_TENSOR_Q_NORM_WEIGHT = 26,   /* [head_dim] */
  HEARTH_TENSOR_K_NORM_WEIGHT = 27,   /* [head_dim] */
  HEARTH_TENSOR_MLP_NORM_WEIGHT = 28, /* [hidden] */
  HEARTH_TENSOR_MLP_NORM_BIAS = 29,
  HEARTH_TENSOR_GATE_WEIGHT = 30, /* [intermediate, hidden]; only when gated */
  HEARTH_TENSOR_GATE_BIAS = 31,
  HEARTH_TENSOR_UP_WEIGHT = 32, /* [intermediate, hidden]; fc1 where there is no gate */
  HEARTH_TENSOR_UP_BIAS = 33,
  HEARTH_TENSOR_DOWN_WEIGHT = 34, /* [hidden, intermediate] */
  HEARTH_TENSOR_DOWN_BIAS = 35
};

/** Where a tensor lies. in. 64 bytes. */
typedef struct hearth_tensor {
  uint32_t size;
  uint32_t role;
  uint32_t layer; /* 0 for tensors that belong to no layer */
  uint32_t dtype;
  uint32_t num_dims;    /* 1 or 2 */
  uint32_t file;        /* index into the file table */
  uint64_t shape[2];    /* row-major, outermost first; shape[1] is 1 for vectors */
  uint64_t file_offset; /* of its first byte, in the file */
  uint64_t num_bytes;   /* must equal what dtype and shape make */
  uint32_t name_offset; /* its name in the file, UTF-8, in the flat buffer: for messages */
  uint32_t name_bytes;
} hearth_tensor;

/** A weights file. in. 16 bytes. */
typedef struct hearth_file {
  uint32_t size;
  uint32_t path_offset; /* UTF-8, no NUL, in the flat buffer */
  uint32_t path_bytes;
  uint32_t reserved;
} hearth_file;

/* --------------------------------------------------------------------------- the engine */

/** How weights come into being. */
enum {
  HEARTH_LOAD_AUTO = 0, /* read from the files */
  HEARTH_LOAD_DUMMY = 1 /* random, made on the device: for benchmarks; no file is opened */
};

/**
 * Options that belong to one subject lie in a group: a struct in the flat buffer that begins with
 * `uint32_t size` and grows as every in struct does. Ids are never used again for something else.
 * No group has a field besides its size yet.
 */
enum {
  HEARTH_OPTIONS_MEMORY = 1,     /* tiers of memory, and the weights and KV blocks in them */
  HEARTH_OPTIONS_KV = 2,         /* what is kept of the KV cache, and for how long */
  HEARTH_OPTIONS_SPECULATION = 3 /* drafts of the next tokens */
};

/** Where the flat buffer holds a group of options; each id once. 12 bytes. */
typedef struct hearth_option_group {
  uint32_t id;     /* HEARTH_OPTIONS_*; one that this library lacks is HEARTH_UNSUPPORTED */
  uint32_t offset; /* a multiple of 8 */
  uint32_t bytes;  /* the group's `size` says the same */
} hearth_option_group;

/** 0 means the default wherever a default is named. in, 112 bytes at least. 128 bytes. */
typedef struct hearth_engine_options {
  uint32_t size;
  uint32_t device_kind;  /* HEARTH_DEVICE_*; AUTO: the first CUDA device, else the CPU */
  uint32_t device_index; /* among its kind */
  uint32_t manual;       /* 1: no thread; hearth_step runs each step */
  uint32_t num_threads;  /* CPU threads, to compute or (CUDA) to load; 0: the cores there are */
  uint32_t isa;          /* HEARTH_ISA_*; a path the CPU lacks is HEARTH_UNSUPPORTED; CUDA: AUTO */
  /* AUTO or F32, the exact path; on the CPU also INT8. AUTO: INT8 for quantized weights and F32 for
     others on the CPU, the weights' 16-bit type on CUDA */
  uint32_t activation_dtype;
  /* AUTO (F32 where activation_dtype is F32, else 16 bits), F32, F16; on CUDA also BF16 */
  uint32_t kv_cache_dtype;
  uint32_t block_size;    /* tokens a KV block: 16 (default), 32 or 64 */
  uint32_t max_model_len; /* prompt and output, tokens; 0: the model's max_position, or what the KV
                             cache holds where that is less; given, it has to fit the KV cache */
  uint32_t max_num_seqs;  /* sequences that run at a time; 0: 128 */
  uint32_t max_num_batched_tokens; /* token budget of a step, >= max_num_seqs; 0: 512, CUDA 2048 */
  uint64_t kv_cache_memory_bytes;  /* 0: see hearth_stats.kv_bytes for what was chosen */
  uint32_t num_kv_blocks;          /* overrides kv_cache_memory_bytes when not 0 */
  uint32_t max_queued_requests;    /* waiting requests; 0: 1024 */
  uint64_t max_queued_tokens;      /* prompt tokens of waiting requests; 0: 4,194,304 */
  uint32_t pipeline_depth;         /* steps staged at once: 1 (default of the CPU) or 2 (of CUDA) */
  uint32_t disable_prefix_caching; /* 1: blocks are never shared between requests */
  uint32_t priority_ageing_ms;     /* a waiting request gains one priority level each; 0: 1000 */
  uint32_t flat_bytes;             /* size of the flat buffer */
  uint64_t memory_limit_bytes;     /* refuse to open above this; 0: what the machine has free */
  uint32_t num_tensors;
  uint32_t num_files;
  uint32_t load_format;         /* HEARTH_LOAD_* */
  float gpu_memory_utilization; /* CUDA: share of the device's memory to take; 0: 0.9; at most 1 */
  uint32_t groups_offset;       /* hearth_option_group[], in the flat buffer */
  uint32_t groups_count;
  /* Of a step that computes prompts, by measured ones: their chunks are cut to it, which changes no
     result. 0: 150; UINT32_MAX: no bound */
  uint32_t max_step_ms;
  uint32_t reserved;
} hearth_engine_options;

/**
 * Open an engine and return at once, LOADING. Weights are read by a thread of the engine (manual
 * mode: by this call); READY or FAILED comes through hearth_poll, progress through hearth_stats.
 *
 * options  engine options
 * spec     the model
 * tensors  options->num_tensors entries, every tensor the spec calls for, each exactly once
 * files    options->num_files entries
 * flat     options->flat_bytes bytes that the structs address
 * engine   out: the handle; hearth_engine_close frees it
 *
 * Returns HEARTH_OK; HEARTH_INVALID_ARGUMENT (a field, a tensor that is missing, doubled, of a
 * wrong shape or out of its file's bounds), HEARTH_IO_ERROR (a file that cannot be opened),
 * HEARTH_UNSUPPORTED (device or instruction path), HEARTH_OUT_OF_MEMORY.
 */
HEARTH_API hearth_status hearth_engine_open(const hearth_engine_options* options,
                                            const hearth_model_spec* spec,
                                            const hearth_tensor* tensors, const hearth_file* files,
                                            const uint8_t* flat, hearth_engine** engine,
                                            hearth_error* error);

/**
 * Take no new requests. drain = 1: running and waiting requests finish first; drain = 0: they are
 * cancelled (finish reason CANCELLED). When nothing is left, hearth_poll returns HEARTH_CLOSED
 * after the last event was delivered. May be called again with drain = 0 to cut a drain short.
 */
HEARTH_API void hearth_engine_stop(hearth_engine* engine, uint32_t drain);

/**
 * Free the engine. Stops it without draining if that was not done, waits for its threads. No other
 * call on this handle may be running or follow; NULL is ignored.
 */
HEARTH_API void hearth_engine_close(hearth_engine* engine);

/** Text about what runs, `key: value` lines: device, threads, kernels of each op and weight dtype,
 *  activation and KV dtypes. Same rule of lengths as hearth_build_info. */
HEARTH_API int32_t hearth_engine_describe(hearth_engine* engine, char* text, uint32_t capacity);

/* ----------------------------------------------------------------------------- requests */

enum { HEARTH_LOGPROBS_NONE = -1 };

/** Continuations of one request. */
#define HEARTH_MAX_SEQUENCES 128
/** Alternatives to a token whose log probabilities are told. */
#define HEARTH_MAX_LOGPROBS 20
/** How much more one caller gets than another. */
#define HEARTH_MAX_CALLER_WEIGHT 1000
/*
 * Lists of one request. They cost time at every token that it draws, the engine's thread's or the
 * device's, and so everybody's: each bound is far above what a request has a use for, and keeps the
 * longest list below the cost of a row of logits.
 */
/** Stop ids of a request; a model has a handful. */
#define HEARTH_MAX_STOP_IDS 1024
/** Biases of a request; OpenAI takes 300, this many ban half of a vocabulary of 32,000. */
#define HEARTH_MAX_LOGIT_BIASES 16384
/** Ids of all bad words of a request together, such as 256 phrases of 64. */
#define HEARTH_MAX_BAD_WORD_IDS 16384

/** One request. Arrays lie in the flat buffer of hearth_submit. in, 120 bytes at least.
 *  136 bytes. */
typedef struct hearth_request_options {
  uint32_t size;
  uint32_t num_sequences;   /* n: continuations that share the prompt's blocks, 1 to 128 and at
                               most max_num_seqs */
  uint32_t max_tokens;      /* output tokens of a sequence; 0 only with prompt_logprobs >= 0 */
  uint32_t min_tokens;      /* stop ids cannot be sampled before; at most max_tokens */
  float temperature;        /* 0: greedy; at most 2 */
  float top_p;              /* (0, 1]; 1: off */
  float min_p;              /* [0, 1]; 0: off */
  uint32_t top_k;           /* 0: off */
  float repetition_penalty; /* > 0; 1: off; over prompt and output, as Transformers */
  float presence_penalty;   /* [-2, 2]; 0: off; over output */
  float frequency_penalty;  /* [-2, 2]; 0: off; over output */
  int32_t logprobs;         /* -1: none; k: the chosen token's and the top k's */
  int32_t prompt_logprobs;  /* -1: none; k: of every prompt token but the first */
  int32_t priority;         /* among those of its caller 0 goes first, then 1, ...; then arrival;
                               -1000 to 1000 */
  uint64_t seed;            /* same seed, same text, whatever the batch; see has_seed */
  uint32_t has_seed;        /* 0: the library draws one */
  uint32_t deadline_ms;     /* from now until the last token; 0: none */
  uint64_t salt[2];         /* requests share prefix blocks only under the same salt */
  uint32_t stop_ids_offset; /* u32[]: a sequence that samples one finishes with STOP; order and
                               repetition mean nothing */
  uint32_t stop_ids_count;
  uint32_t logit_bias_offset; /* hearth_logit_bias[] */
  uint32_t logit_bias_count;
  uint32_t bad_words_offset; /* u32[]: for each word its length, then its ids */
  uint32_t bad_words_count;  /* u32 elements in all, lengths included */
  uint32_t flat_bytes;
  uint32_t skip_reading_prefix_cache; /* 1: the whole prompt is computed; its blocks are cached */
  uint64_t caller;        /* whose it is, by any number: callers who wait have turns, by the
                             tokens that were computed for them */
  uint32_t caller_weight; /* a caller of weight 2 gets twice as many; 0: 1; at most 1,000 */
  uint32_t reserved;
} hearth_request_options;

/** Added to a token's logit before sampling; -100 and below bans it. 8 bytes. */
typedef struct hearth_logit_bias {
  uint32_t token;
  float bias; /* [-100, 100] */
} hearth_logit_bias;

/**
 * Queue one request and return. Its tokens arrive through hearth_poll.
 *
 * tokens       prompt, num_tokens ids below vocab_size
 * num_tokens   1 to max_model_len - 1 (max_model_len with max_tokens 0)
 * options      sampling, priority, deadline
 * flat         options->flat_bytes bytes; may be NULL when 0
 * request      out: id, unique in this process, never 0
 *
 * Returns HEARTH_OK, HEARTH_INVALID_ARGUMENT, HEARTH_QUEUE_FULL, HEARTH_DEADLINE, HEARTH_NOT_READY,
 * HEARTH_CLOSING. num_tokens + max_tokens beyond max_model_len is no error: the sequence ends at
 * max_model_len with reason LENGTH.
 *
 * Takes the submit lock only: never waits for a step or the device.
 */
HEARTH_API hearth_status hearth_submit(hearth_engine* engine, const uint32_t* tokens,
                                       uint32_t num_tokens, const hearth_request_options* options,
                                       const uint8_t* flat, uint64_t* request, hearth_error* error);

enum { HEARTH_CANCEL_CLIENT = 0, HEARTH_CANCEL_STOP = 1, HEARTH_CANCEL_ALL_SEQUENCES = -1 };

/**
 * End a request, or one of its sequences, at the next step; its blocks are free then, prefill
 * included. A FINISH event follows for each sequence that still ran.
 *
 * sequence     0 to n - 1, or HEARTH_CANCEL_ALL_SEQUENCES
 * reason       HEARTH_CANCEL_CLIENT (finish reason CANCELLED) or HEARTH_CANCEL_STOP (a stop string
 *              matched: finish reason STOP)
 * keep_tokens  output tokens that count: those after are neither in statistics nor in the prefix
 *              cache; pass UINT32_MAX to keep all
 *
 * Returns HEARTH_OK, HEARTH_NOT_FOUND when it has finished already (no harm done), or
 * HEARTH_INVALID_ARGUMENT for an unknown reason or a sequence that the request does not have.
 */
HEARTH_API hearth_status hearth_cancel(hearth_engine* engine, uint64_t request, int32_t sequence,
                                       uint32_t reason, uint32_t keep_tokens);

enum {
  HEARTH_EVENT_TOKEN = 1,  /* tokens of a sequence, in order; payload: see below */
  HEARTH_EVENT_FINISH = 2, /* finish_reason of a sequence; its last event */
  HEARTH_EVENT_ERROR = 3,  /* a request failed: every sequence of it; payload: hearth_error */
  HEARTH_EVENT_PROMPT_LOGPROB = 4, /* of prompt token number `sequence`; payload as TOKEN's */
  HEARTH_EVENT_READY = 5,          /* the weights are loaded; request 0 */
  HEARTH_EVENT_FAILED = 6, /* no step will run any more: loading has failed, or the device is
                              lost; request 0; payload: hearth_error. Whatever request has not
                              ended by then has failed with it. */
  HEARTH_EVENT_START = 7   /* a request is in its first step; before its other events */
};

enum {
  HEARTH_FINISH_STOP = 1,   /* a stop id was sampled, or HEARTH_CANCEL_STOP */
  HEARTH_FINISH_LENGTH = 2, /* max_tokens or max_model_len */
  HEARTH_FINISH_CANCELLED = 3,
  HEARTH_FINISH_DEADLINE = 4
};

/** Tokens of one event: every payload fits the smallest payload buffer. */
#define HEARTH_MAX_EVENT_TOKENS 16
/** The smallest payload buffer of hearth_poll. */
#define HEARTH_MIN_PAYLOAD_BYTES 4096

/**
 * One thing that happened to one request.
 *
 * The tokens of TOKEN and PROMPT_LOGPROB: the first is in the event itself, so that an event of one
 * token without alternatives has no payload. The payload holds hearth_token_logprob only, the other
 * tokens first, then num_top alternatives for each token, best first:
 *
 *   token 2 ... token num_tokens | top of token 1 | top of token 2 | ... | top of token num_tokens
 *
 * out. 64 bytes.
 */
typedef struct hearth_event {
  uint32_t size;
  uint32_t kind; /* HEARTH_EVENT_* */
  uint64_t request;
  uint32_t sequence;          /* 0 to n - 1; PROMPT_LOGPROB: index of the prompt token */
  uint32_t token;             /* the first of num_tokens */
  float logprob;              /* its natural logarithm, of the raw logits; NaN when not asked for */
  uint32_t num_tokens;        /* TOKEN: 1 to HEARTH_MAX_EVENT_TOKENS; PROMPT_LOGPROB: 1; else 0 */
  uint32_t num_top;           /* alternatives of each token: 0 to HEARTH_MAX_LOGPROBS */
  uint32_t finish_reason;     /* FINISH: HEARTH_FINISH_* */
  uint32_t cached_tokens;     /* prompt tokens taken from the prefix cache; START, TOKEN, FINISH */
  uint32_t payload_offset;    /* into the payload buffer, a multiple of 8 */
  uint32_t payload_bytes;     /* 0: none */
  uint32_t num_output_tokens; /* TOKEN: number of the last of them, from 1; FINISH: that count */
  uint64_t queue_microseconds; /* START: from hearth_submit to the first step */
} hearth_event;

/** A token and its log probability. 8 bytes. */
typedef struct hearth_token_logprob {
  uint32_t token;
  float logprob;
} hearth_token_logprob;

/**
 * Wait until there is at least one event, or timeout_ms, and hand over what there is.
 * Returns early when either buffer is full; the rest comes with the next call. Events of one
 * sequence are in order.
 *
 * events            out: room for capacity events, event_size bytes apart
 * event_size        the caller's sizeof(hearth_event)
 * payload           out: payload_capacity bytes, at least HEARTH_MIN_PAYLOAD_BYTES
 *
 * Returns the number of events (0 after the timeout), HEARTH_CLOSED after the last one, or another
 * negative status for bad arguments.
 */
HEARTH_API int32_t hearth_poll(hearth_engine* engine, hearth_event* events, uint32_t event_size,
                               uint32_t capacity, uint8_t* payload, uint32_t payload_capacity,
                               uint32_t timeout_ms);

/**
 * Manual mode: run exactly one scheduler step (plan, run, commit). out_num_tokens: input tokens
 * computed; 0 means there was nothing to do. HEARTH_UNSUPPORTED when the engine has its own thread.
 */
HEARTH_API hearth_status hearth_step(hearth_engine* engine, uint32_t* num_tokens,
                                     hearth_error* error);

/** Manual mode: verify that free + cached + held = total, that reference counts equal the holders
 *  and that no two names share a block; HEARTH_INTERNAL with a message otherwise. */
HEARTH_API hearth_status hearth_check_integrity(hearth_engine* engine, hearth_error* error);

enum {
  HEARTH_STATE_LOADING = 1,
  HEARTH_STATE_READY = 2,
  HEARTH_STATE_FAILED = 3,
  HEARTH_STATE_CLOSING = 4,
  HEARTH_STATE_CLOSED = 5
};

/** Counters since open and gauges of now. out. 280 bytes. */
typedef struct hearth_engine_stats {
  uint32_t size;
  uint32_t state;
  uint64_t bytes_loaded;
  uint64_t bytes_total; /* of weights to load */
  uint32_t num_requests_running;
  uint32_t num_requests_waiting;
  uint32_t kv_blocks_total;
  uint32_t kv_blocks_free;   /* no content */
  uint32_t kv_blocks_cached; /* content, no holder: reusable and evictable */
  uint32_t kv_blocks_held;   /* by running sequences */
  uint64_t num_prompt_tokens;
  uint64_t num_prompt_tokens_cached;
  uint64_t num_generation_tokens;
  uint64_t num_requests_submitted;
  uint64_t num_finished_stop; /* sequences, as the four below */
  uint64_t num_finished_length;
  uint64_t num_finished_cancelled;
  uint64_t num_finished_deadline;
  uint64_t num_finished_error;
  uint64_t num_preemptions;
  uint64_t num_steps;
  uint64_t num_step_tokens;   /* input tokens computed */
  uint64_t step_microseconds; /* sum over steps */
  uint64_t step_bytes;        /* by the ops' cost functions */
  uint64_t step_flops;
  uint64_t weights_bytes;
  uint64_t kv_bytes;
  uint64_t workspace_bytes;
  uint64_t expected_wait_ms; /* until a request queued now would start, from measured rates */
  uint64_t load_microseconds;
  uint32_t max_model_len;
  uint32_t max_num_seqs;
  uint32_t max_num_batched_tokens;
  uint32_t block_size;
  uint32_t num_threads;
  uint32_t isa;              /* HEARTH_ISA_* in use */
  uint32_t activation_dtype; /* F32 or INT8; CUDA: F32, F16 or BF16 */
  uint32_t kv_cache_dtype;   /* F32 or F16; CUDA: also BF16 */
  uint32_t num_sequences_running;
  uint32_t device_kind;
  uint64_t num_queued_tokens;   /* prompt tokens that wait */
  uint64_t num_launches;        /* CUDA: kernels launched, those of recorded steps included */
  uint64_t device_microseconds; /* CUDA: time that the device was busy with steps */
  uint32_t device_index;
  uint32_t num_allocations; /* of device and page-locked memory since READY: steps make none */
} hearth_engine_stats;

/** Fill stats, of which the caller has set `size`. Cheap; takes no lock that a step holds for long.
 *  Returns HEARTH_OK or HEARTH_INVALID_ARGUMENT. */
HEARTH_API hearth_status hearth_stats(hearth_engine* engine, hearth_engine_stats* stats);

#ifdef __cplusplus
}
#endif

#endif /* HEARTH_H */
