// The ops that a forward pass is made of: one interface, a CPU and a CUDA implementation, the same
// tests for both. Granularity is fused, so that each backend fuses further as it likes.
//
// DESIGN
//   Order      Ops run in the order of the calls. They may return before they are done;
//              finish_step() waits. The CPU backend runs them at once on its thread pool, the
//              caller being worker 0.
//   Thread     One thread (the engine's) calls everything but layout(), pack(), upload() and the
//              allocation calls, which are safe from any thread.
//   Memory     Pointers named device_* or held in views are the backend's own addresses: only ops,
//              upload() and download() touch them. Activations are float, row by row; a backend
//              may keep those marked is_operand in another form.
//   Same bits  A row's result depends only on that row's inputs, the weights and the device: not on
//              the number of rows, their order, chunk borders or threads. Every weight shape has
//              one order over k; attention reduces over KV in fixed-length chunks counted from
//              position 0 and merges them in index order. Whoever adds a kernel keeps this, and the
//              tests compare bits.
//   Errors     Shapes are checked when the model is opened; an op that fails at run time (device
//              lost, out of memory) throws Error, and the engine fails the step's requests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "../hearth.h"

namespace hearth {

/// Values as HEARTH_DTYPE_*.
enum class DType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kBF16 = 2,
  kQ8_0 = 3,
  kQ4_0 = 4,
  kQ4_1 = 5,
  kInt8 = 6
};

/// Bytes of one row of `cols` values as it lies in a weights file. cols is a multiple of 32 for the
/// quantized types.
inline size_t row_bytes(DType dtype, int64_t cols) {
  switch (dtype) {
    case DType::kF32: return cols * 4;
    case DType::kF16:
    case DType::kBF16: return cols * 2;
    case DType::kQ8_0: return cols / 32 * 34;
    case DType::kQ4_0: return cols / 32 * 18;
    case DType::kQ4_1: return cols / 32 * 20;
    case DType::kInt8: break;
  }
  return 0;
}

/// Whether rows consist of blocks of 32 values with a scale.
inline bool is_quantized(DType dtype) {
  return dtype == DType::kQ8_0 || dtype == DType::kQ4_0 || dtype == DType::kQ4_1;
}

// ------------------------------------------------------------------------------------ weights

/// How a backend stores a weight: a pure function of (backend, dtype, shape).
struct WeightLayout {
  uint32_t id = 0;  // names the kernel family and the packing's version
  DType dtype = DType::kF32;
  int32_t rows = 0;       // out features
  int32_t cols = 0;       // in features
  int32_t tile_rows = 0;  // rows that are packed together
  size_t tile_bytes = 0;  // of a packed tile, a multiple of 64; the last tile is padded to this
};

/// Consecutive tiles of a weight that lie in one page.
struct WeightSegment {
  const std::byte* data;  // 64-byte aligned
  int32_t first_tile;
  int32_t num_tiles;
};

/// A weight as ops take it: never a base pointer, since pages may lie anywhere. A tile never
/// straddles a page. Empty (rows 0) stands for "none".
struct WeightView {
  WeightLayout layout;
  std::vector<WeightSegment> segments;  // in order of tiles, covering all
};

/// y = W x + bias. bias: float[rows] on the device, or null.
struct LinearView {
  WeightView weight;
  const float* bias = nullptr;
};

enum class NormKind : uint32_t { kNone = 0, kRms = HEARTH_NORM_RMS, kLayer = HEARTH_NORM_LAYER };

/// weight, bias: float[size] on the device; bias may be null. kNone passes its input on.
struct NormView {
  NormKind kind = NormKind::kNone;
  const float* weight = nullptr;
  const float* bias = nullptr;
  int32_t size = 0;
  float eps = 0;
};

// ----------------------------------------------------------------------------------- KV cache

/// Logical layout [block][layer][K|V][kv_head][token][head_dim]: a block is contiguous across
/// layers, so that a tier can move it with one copy. Inside a (block, layer, K|V, kv_head) cell the
/// order of the block_tokens * head_dim elements is the backend's.
struct KvSpec {
  int32_t num_layers = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_tokens = 16;
  DType dtype = DType::kF16;  // kF16, kF32 or, where the backend has it, kBF16

  constexpr size_t cell_bytes() const {
    return size_t(block_tokens) * head_dim * (dtype == DType::kF32 ? 4 : 2);
  }
  constexpr size_t block_bytes() const { return cell_bytes() * num_kv_heads * 2 * num_layers; }
};

struct KvCache {
  KvSpec spec;
  int32_t num_blocks = 0;
  std::byte* data = nullptr;  // num_blocks * spec.block_bytes(), device
};

struct BlockCopy {
  int32_t from;
  int32_t to;
};

// --------------------------------------------------------------------------------------- steps

struct RopeView {
  std::vector<float> inv_freq;  // host; dim / 2; empty: no RoPE
  float scale = 1;              // of cos and sin
  bool interleaved = false;     // pairs (2i, 2i + 1), else (i, i + dim/2)
  int32_t dim() const { return int32_t(inv_freq.size()) * 2; }
};

/// One row of results: a token to sample, or the logprob of a known one.
struct SampleRow {
  int32_t logits_row;    // index into StepInput::logits_tokens; rows are in its order
  int32_t sampler;       // from bind_sampler(); -1 for a prompt's logprob
  int32_t target;        // the prompt token whose logprob is asked for; -1: sample
  int32_t output_index;  // 0 for a sequence's first output token: keys the noise, gates min_tokens
  int32_t num_logprobs;  // -1: none; k: of the token and of the k most likely
};

/// The ragged batch of one step, in host memory that stays valid until its finish_step().
///
///   sequence s owns tokens query_start[s] .. query_start[s+1], the last ones of its context:
///   position of its first token = context_len[s] - (query_start[s+1] - query_start[s])
struct StepInput {
  std::span<const int32_t> token_ids;    // [T] an id, or ~r: what row r of the last step drew
  std::span<const int32_t> positions;    // [T]
  std::span<const int32_t> kv_slots;     // [T] block * block_tokens + offset: where K and V go
  std::span<const int32_t> query_start;  // [S + 1]
  std::span<const int32_t> context_len;  // [S] own tokens included
  std::span<const int32_t> block_table;  // [S, max_blocks], unused entries -1
  int32_t max_blocks = 0;
  std::span<const BlockCopy> block_copies;  // done first (copy on write)
  std::span<const int32_t> logits_tokens;   // [R] token indices whose logits are needed, ascending
  std::span<const SampleRow> samples;       // by ascending logits_row

  int32_t num_tokens() const { return int32_t(token_ids.size()); }
  int32_t num_sequences() const { return int32_t(context_len.size()); }
};

struct SampleResult {
  uint32_t token = 0;
  float logprob = 0;                      // of the raw logits; NaN when not asked for
  std::vector<hearth_token_logprob> top;  // most likely first, ties to the lowest id
  bool not_finite = false;                // a logit of its row was not: nothing is drawn
};

/// One per SampleRow, in order.
struct StepResult {
  std::vector<SampleResult> samples;
};

/// How a sequence samples. Spans are copied by bind_sampler().
/// Order of the processors, as vLLM: logprobs are taken of the raw logits; then bans (bad words,
/// stop ids before min_tokens), logit bias, repetition, frequency, presence penalties; temperature
/// 0 takes the arg max (ties to the lowest id); else temperature, min_p, top_k, top_p, and the
/// draw.
struct SamplerSpec {
  float temperature = 0;
  float top_p = 1;
  float min_p = 0;
  uint32_t top_k = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  uint32_t min_tokens = 0;
  uint64_t seed = 0;
  uint32_t sequence = 0;  // 0 to n - 1; the noise is Philox keyed by (seed, sequence, output_index)
  std::span<const uint32_t> stop_ids;
  std::span<const hearth_logit_bias> logit_bias;
  std::span<const uint32_t> bad_words;  // for each word its length, then its ids
  std::span<const uint32_t> prompt;     // for the repetition penalty
  std::span<const uint32_t> output;     // tokens made already (a sequence that is taken over)
};

enum class Activation : uint32_t {
  kSilu = HEARTH_ACTIVATION_SILU,
  kGeluTanh = HEARTH_ACTIVATION_GELU_TANH,
  kRelu = HEARTH_ACTIVATION_RELU,
  kGelu = HEARTH_ACTIVATION_GELU
};

/// The largest step that a backend has to reserve scratch for.
struct StepSizes {
  int32_t tokens = 1;
  int32_t logits_rows = 1;  // of one linear op over gathered rows
  int32_t cols = 1;         // widest input of a linear op
  int32_t kv_cols = 0;      // num_kv_heads * head_dim
};

/// Activations of a batch: [rows, cols], row-major, device.
struct Tensor {
  std::byte* data = nullptr;
  int32_t rows = 0;  // capacity
  int32_t cols = 0;
  /// Nothing but attention or gate_up writes it and nothing but linear reads it: the backend may
  /// keep it in the form that its linear kernels want. Else float[rows, cols].
  bool is_operand = false;
};

/// What the attention of one layer needs to know.
struct AttentionSpec {
  int32_t layer = 0;
  int32_t num_heads = 0;
  float scale = 1;
  int32_t window = 0;  // a token sees itself and the window - 1 before it; 0: all
};

// --------------------------------------------------------------------------------------- the ops

class Backend {
 public:
  virtual ~Backend() = default;

  /// `key: value` lines: device, threads, kernels chosen.
  virtual std::string describe() const = 0;

  // Weights. layout() throws Error(HEARTH_UNSUPPORTED) for what no kernel takes.
  virtual WeightLayout layout(DType dtype, int32_t rows, int32_t cols) const = 0;
  /// Packs rows [tile * tile_rows, + num_rows) of a weight into dst (host, tile_bytes, 64-byte
  /// aligned): a pure function of its arguments. source: num_rows rows as in the file; num_rows is
  /// tile_rows, or less for the last tile, whose missing rows are packed as zeros.
  virtual void pack(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
                    std::byte* dst) const = 0;

  // Memory. allocate() throws Error(HEARTH_OUT_OF_MEMORY); 64-byte aligned at the least.
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void free(std::byte* device) = 0;
  virtual void upload(std::byte* device, const void* host, size_t bytes) = 0;
  virtual void download(void* host, const std::byte* device, size_t bytes) = 0;
  /// Bytes to allocate for a Tensor, operand or not.
  virtual size_t tensor_bytes(int32_t rows, int32_t cols) const = 0;
  /// Fills packed tiles with random weights of a deviation of about 1 / sqrt(cols): for benchmarks
  /// of models that nobody has to download. The same seed gives the same weights.
  virtual void randomize(const WeightLayout& layout, std::byte* tiles, int32_t num_tiles,
                         uint64_t seed) = 0;

  /// Where element (token, dim) of a K or V cell lies in it, counted in elements: lets tests read
  /// and write the KV cache with upload() and download().
  virtual int32_t kv_element(const KvSpec& spec, bool is_value, int32_t token,
                             int32_t dim) const = 0;

  /// Reserve scratch for steps of at most these sizes. Before the first step; may throw.
  virtual void reserve(const StepSizes& sizes) = 0;
  /// Bytes that reserve() takes.
  virtual size_t scratch_bytes(const StepSizes& sizes) const = 0;

  // Samplers: a sequence's sampling state (counts, history), kept between its steps.
  virtual int32_t bind_sampler(const SamplerSpec& spec) = 0;
  virtual void release_sampler(int32_t sampler) = 0;

  // A step: begin, ops, end, finish. The input stays the caller's.
  //
  /// Returns whether the ops must be called. same_ops: the caller calls the same ops with the same
  /// arguments in every step of the same sizes, so that a backend may record them once; where such
  /// a step was recorded it is enqueued as a whole, and the answer is false.
  virtual bool begin_step(const StepInput& input, const RopeView& rope, const KvCache& kv,
                          bool same_ops) = 0;
  /// All ops of the step were called, or none had to be.
  virtual void end_step() = 0;

  /// out[t] = token_embedding[id[t]]
  virtual void embed(const WeightView& token_embedding, Tensor out) = 0;
  /// x[t] += position_embedding[position[t] + position_offset]
  virtual void add_position(const WeightView& position_embedding, int32_t position_offset,
                            Tensor x) = 0;
  /// out[t] = norm(x[t]) for the step's T tokens; out may be x.
  virtual void norm(Tensor x, const NormView& norm, Tensor out) = 0;
  /// out = norm(x) Wᵀ + bias (+ residual). rows: how many of x's. residual may be out; data null:
  /// none.
  virtual void linear(Tensor x, int32_t rows, const NormView& norm, const LinearView& linear,
                      Tensor residual, Tensor out) = 0;
  /// q = rope(q_norm(norm(x) Wqᵀ + bq)); K and V likewise (V without norm and RoPE) into the KV
  /// cache.
  virtual void qkv(Tensor x, const NormView& norm, const LinearView& q, const LinearView& k,
                   const LinearView& v, const NormView& q_norm, const NormView& k_norm,
                   const AttentionSpec& attention, Tensor q_out) = 0;
  /// out[t, h] = softmax(scale q[t, h] · K) V over the token's context, causal, within the window.
  virtual void attention(Tensor q, const AttentionSpec& attention, Tensor out) = 0;
  /// out = act(norm(x) Wgateᵀ + bg) * (norm(x) Wupᵀ + bu); gate.rows 0: out = act(norm(x) Wupᵀ +
  /// bu).
  virtual void gate_up(Tensor x, const NormView& norm, const LinearView& gate, const LinearView& up,
                       Activation activation, Tensor out) = 0;
  /// out[r] = x[logits_tokens[first_row + r]] for r < num_rows.
  virtual void gather(Tensor x, int32_t first_row, int32_t num_rows, Tensor out) = 0;
  /// Draw or score the SampleRows whose logits_row lies in [first_row, + num_rows).
  /// logits: [num_rows, vocab]; may be changed. Appends to the step's results.
  virtual void sample(Tensor logits, int32_t first_row, int32_t num_rows) = 0;

  /// Wait for the oldest step that is not finished and return its results, valid until the second
  /// next begin_step(). At pipeline depth 2, step N + 1 begins before step N is finished, so that a
  /// device computes while the host plans.
  virtual const StepResult& finish_step() = 0;

  // Counters since the beginning; from the engine's thread.
  //
  /// Kernels launched, those of recorded steps included (CPU: 0).
  virtual uint64_t num_launches() const = 0;
  /// Time that the device was busy with finished steps (CPU: 0).
  virtual uint64_t device_nanoseconds() const = 0;
};

/// HEARTH_ISA_*, 0 and HEARTH_DTYPE_AUTO as in hearth_engine_options. Throws
/// Error(HEARTH_UNSUPPORTED) for an instruction path that this CPU lacks.
struct CpuOptions {
  uint32_t isa = HEARTH_ISA_AUTO;
  uint32_t num_threads = 0;
  /// kF32 or kInt8: how linear ops over quantized weights take their activations.
  DType activation_dtype = DType::kF32;
};
std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options);

struct CudaOptions {
  int32_t device_index = 0;
  /// fp32 activations and products, as the goldens want it. Else linear ops and attention take
  /// their inputs in the weights' 16-bit type. fp32 weights and GPUs before Ampere are always
  /// exact.
  bool exact = false;
  /// Kernels for more than this are not chosen, 0: all that the device runs. For tests.
  int32_t max_compute_capability = 0;
};
/// Whether this library has it.
bool built_with_cuda();
/// What it was compiled for, "sm_80 sm_90a compute_80" (compute_: PTX); empty without CUDA.
const char* cuda_architectures();
/// Throws Error(HEARTH_UNSUPPORTED) where this library has no CUDA or the machine no such device,
/// or one that runs none of its code.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options);
/// The CUDA devices of this machine, in the driver's order; empty without a driver or without CUDA
/// in this library. Takes nothing of any of them. free_bytes is 0: read_free_bytes() fills it in.
std::vector<hearth_device> cuda_devices();
/// Fills free_bytes of CUDA devices in, without taking anything of them. Where the driver does not
/// tell (no NVML), that is memory_bytes.
void read_free_bytes(std::span<hearth_device> devices);
/// Bytes free on one device, which from then on holds this process's context (some hundred MB, not
/// among them). Throws Error.
uint64_t cuda_free_bytes(int32_t device_index);
/// Launches a kernel that traps, so that the device is lost to this process; throws DeviceLost. For
/// tests. Throws Error(HEARTH_UNSUPPORTED) as make_cuda_backend().
void cuda_trap(int32_t device_index);

}  // namespace hearth
