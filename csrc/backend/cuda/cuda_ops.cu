#include "cuda_ops.h"

#include <algorithm>
#include <iterator>

#include "packer.h"
#include "rows.h"

namespace hearth::cuda {
namespace {

/// Of a step's reserve beside what is counted: modules that kernels come in, and recorded steps.
constexpr size_t kModuleBytes = 96 << 20, kRecordedBytes = 2 << 20;
/// CTAs of decoding attention on a multiprocessor: a grid of more is cut to what fits.
constexpr int32_t kAttentionCtas = 2;

DType half_of(DType weight) { return weight == DType::kBF16 ? DType::kBF16 : DType::kF16; }

int32_t rows_of(const LinearArgs& args) {
  int32_t rows = 0;
  for (int i = 0; i < args.num_outputs; ++i) rows += args.outputs[i].weight.rows;
  return rows;
}

}  // namespace

CudaOps::CudaOps(CudaDevice& device, CudaSamplers& samplers, bool exact)
    : device_(device), samplers_(samplers), stream_(device.stream()),
      table_({device.code(), exact || !device.code().has_tensor_cores()}),
      recorder_(device.stream()) {
  device.use();
  for (Slot& slot : slots_) {
    slot.begun = make_event();
    slot.done = make_event();
  }
}

CudaOps::~CudaOps() { cudaStreamSynchronize(stream_.handle); }

std::string CudaOps::describe() const {
  return table_.describe() + format("recorded_steps: %zu\n", recorder_.num_recorded());
}

// -------------------------------------------------------------------------------------- memory

size_t CudaOps::tensor_bytes(int32_t rows, int32_t cols) const {
  return std::max(size_t(rows) * cols * sizeof(float), operand_bytes(rows, cols));
}

void CudaOps::reserve(const StepSizes& sizes) {
  device_.use();
  sizes_ = sizes;
  samplers_.reserve(sizes);
  memory_ = StepMemory(device_, sizes, table_.traits().exact);
  recorded_steps_ = RecordedSteps(sizes, StepMemory::max_decode_items(sizes),
                                  stream_.num_multiprocessors * kAttentionCtas);
}

size_t CudaOps::reserved_bytes(const StepSizes& sizes) const {
  return StepMemory::bytes(sizes, table_.traits().exact) + CudaSamplers::reserved_bytes(sizes) +
         kModuleBytes + kMostRecorded * kRecordedBytes;
}

std::vector<WarmUpStep> CudaOps::warm_ups() const {
  std::vector<WarmUpStep> steps;
  // One of each kind of kernel: streaming for up to 8 tokens and for more, and tiles.
  for (const int32_t tokens : {1, 16, 65}) {
    if (tokens <= sizes_.tokens) steps.push_back({1, tokens, tokens, StepUse::kOnce});
  }
  for (const RecordKey& key : recorded_steps_.keys()) {
    const int64_t context =
        std::min<int64_t>(int64_t(key.max_chunks) * kChunkTokens, std::max(sizes_.max_context, 1));
    steps.push_back({key.num_sequences, 1, int32_t(context), StepUse::kRecord});
  }
  steps.push_back({1, 1, 1, StepUse::kModel});
  return steps;
}

// ------------------------------------------------------------------------------- begin, end

StepLayout CudaOps::make_layout(const StepInput& input, std::span<const RopeView> ropes,
                                const KvSpec& kv) const {
  StepLayout layout = layout_of(input, plan_, kv.block_tokens);
  for (const RopeView& rope : ropes) layout.rope_half += rope.dim() / 2;
  if (is_padded()) {
    layout.num_tokens = layout.num_sequences = key_.num_sequences;
    layout.num_logits = layout.num_samples = key_.num_sequences;
    layout.num_batches = 1;
    layout.max_decodes =
        std::min(StepMemory::max_decode_items(sizes_), key_.num_sequences * key_.max_chunks);
  }
  return layout;
}

bool CudaOps::begin_step(const StepInput& input, std::span<const RopeView> ropes, const KvCache& kv,
                         StepUse use) {
  // Counted before anything can throw: a step that was begun is finished.
  const uint64_t index = num_begun_++ % kSlots;
  Slot& slot = slots_[index];
  slot.is_closed = false;
  slot.samples.clear();
  device_.use();
  if (use != StepUse::kRecord) slot.samples.assign(input.samples.begin(), input.samples.end());
  slot.result.samples.clear();
  kv_ = kv;
  launches_before_ = stream_.num_launches;

  plan_.make(input, StepMemory::max_decode_items(sizes_));
  key_ = use == StepUse::kOnce ? kUnrecorded : recorded_steps_.find(input);
  if (use == StepUse::kModel && !recorder_.has(key_)) key_ = kUnrecorded;
  const StepLayout layout = make_layout(input, ropes, kv.spec);
  const size_t bytes = layout.place(memory_.input, step_);
  if (bytes > memory_.input_bytes || input.samples.size() > size_t(sizes_.sample_rows)) {
    throw Error(HEARTH_INTERNAL, "Cannot begin a step: it is larger than what was reserved");
  }
  step_.drawn = memory_.drawn;

  std::byte* const host = memory_.host_inputs[index];
  pack_step(input, plan_, ropes, kv.spec.block_tokens, layout, host);
  check(cudaMemcpyAsync(memory_.input, host, bytes, cudaMemcpyHostToDevice, stream_.handle),
        "Cannot begin a step");
  check(cudaEventRecord(slot.begun, stream_.handle), "Cannot begin a step");
  const size_t block_bytes = kv.spec.block_bytes();
  for (const BlockCopy& copy : input.block_copies) {
    check(cudaMemcpyAsync(kv.data + copy.to * block_bytes, kv.data + copy.from * block_bytes,
                          block_bytes, cudaMemcpyDeviceToDevice, stream_.handle),
          "Cannot copy KV blocks");
  }
  samplers_.upload_changes();

  if (use == StepUse::kModel && is_padded()) {
    recorder_.launch(key_);
    return false;
  }
  if (use == StepUse::kRecord && (!is_padded() || !recorder_.begin())) return false;
  make_angles(ropes);
  return true;
}

void CudaOps::make_angles(std::span<const RopeView> ropes) {
  angles_.clear();
  const float* inv_freq = packed_inv_freq(memory_.input);
  float* to = memory_.angles;
  for (const RopeView& rope : ropes) {
    const int32_t half = rope.dim() / 2;
    const size_t size = size_t(step_.num_tokens) * half;
    angles_.push_back({to, to + size, half, rope.interleaved});
    rope_table(stream_, step_, inv_freq, half, rope.scale, to, to + size);
    inv_freq += half;
    to += 2 * size;
  }
}

void CudaOps::end_step() {
  const uint64_t index = (num_begun_ - 1) % kSlots;
  Slot& slot = slots_[index];
  if (recorder_.is_recording()) recorder_.end(key_);
  const size_t bytes = slot.samples.size() * sizeof(DeviceSample);
  if (bytes > 0) {
    check(cudaMemcpyAsync(memory_.host_results[index], memory_.results, bytes,
                          cudaMemcpyDeviceToHost, stream_.handle),
          "Cannot end a step");
  }
  check(cudaEventRecord(slot.done, stream_.handle), "Cannot end a step");
  slot.is_closed = true;
  num_launches_ += stream_.num_launches - launches_before_;
}

const StepResult& CudaOps::finish_step() {
  device_.use();
  const uint64_t index = num_finished_++ % kSlots;
  Slot& slot = slots_[index];
  if (!slot.is_closed) {  // an op of it has thrown
    recorder_.abandon();
    check(cudaStreamSynchronize(stream_.handle), "Cannot finish a step");
    return slot.result;
  }
  check(cudaEventSynchronize(slot.done), "Cannot finish a step");
  float milliseconds = 0;
  if (cudaEventElapsedTime(&milliseconds, slot.begun, slot.done) == cudaSuccess) {
    device_nanoseconds_ += uint64_t(milliseconds * 1e6);
  }
  for (size_t i = 0; i < slot.samples.size(); ++i) {
    const DeviceSample& from = memory_.host_results[index][i];
    SampleResult to;
    to.token = from.token;
    to.logprob = from.logprob;
    to.not_finite = from.not_finite != 0;
    to.top.assign(from.top, from.top + std::min<uint32_t>(from.num_top, kMaxLogprobs));
    slot.result.samples.push_back(std::move(to));
  }
  return slot.result;
}

// -------------------------------------------------------------------------------------- ops

// Rows of a slice of logits: a recorded step is padded, and has one slice.
int32_t CudaOps::padded(int32_t num_rows) const {
  return is_padded() ? key_.num_sequences : num_rows;
}

void CudaOps::embed(const WeightView& token_embedding, Tensor out) {
  cuda::embed(stream_, step_, token_embedding.layout.dtype, WeightRef(token_embedding), out.cols,
              floats(out));
}

void CudaOps::add_position(const WeightView& position_embedding, int32_t position_offset,
                           Tensor x) {
  cuda::add_position(stream_, step_, position_embedding.layout.dtype, WeightRef(position_embedding),
                     position_offset, x.cols, floats(x));
}

void CudaOps::norm(Tensor x, const NormView& norm, Tensor out) {
  norm_rows(stream_, floats(x), step_.num_tokens, x.cols, norm, floats(out));
}

// The input of a linear op over a weight of this dtype: normed, in the form that its kernel reads.
const void* CudaOps::make_input(Tensor x, int32_t rows, const NormView& norm, DType weight) {
  const bool exact = is_exact(table_.traits(), weight);
  if (x.form != DType::kF32) {
    if (!exact && x.form == half_of(weight)) return x.data;
    operand_to_floats(stream_, x.data, rows, x.cols, x.form, memory_.unpacked);
    x.data = reinterpret_cast<std::byte*>(memory_.unpacked);
  }
  if (!exact) {
    norm_operand(stream_, floats(x), rows, x.cols, norm, half_of(weight), memory_.operand);
    return memory_.operand;
  }
  if (norm.kind == NormKind::kNone) return x.data;
  norm_rows(stream_, floats(x), rows, x.cols, norm, memory_.floats);
  return memory_.floats;
}

// Runs a linear op whose outputs are in args. Its input is its kernel's own affair where it norms,
// else made by one ahead of it.
void CudaOps::run_linear(const LinearChoice& choice, DType dtype, LinearOp& args, Tensor x,
                         const NormView& norm) {
  if (choice.kernel == LinearKernel::kStreamSm90 && norms_itself(args.rows, x.cols) &&
      x.form == DType::kF32) {
    args.raw = floats(x);
    args.norm = norm;
  } else {
    args.x = make_input(x, args.rows, norm, dtype);
  }
  switch (choice.kernel) {
    case LinearKernel::kExact: return linear_exact(stream_, choice, dtype, args);
    case LinearKernel::kStreamSm80: return linear_stream_sm80(stream_, choice, dtype, args);
    case LinearKernel::kStreamSm90: return linear_stream_sm90(stream_, choice, dtype, args);
    case LinearKernel::kGemmSm80: return linear_gemm_sm80(stream_, choice, dtype, args);
    case LinearKernel::kGemmSm90: return linear_gemm_sm90(stream_, choice, dtype, args);
  }
}

void CudaOps::run_linear(Tensor x, int32_t rows, const NormView& norm, const LinearView& linear,
                         Tensor residual, Tensor out) {
  const WeightLayout& layout = linear.weight.layout;
  LinearOp args;
  args.rows = rows;
  args.cols = layout.cols;
  args.guess = guess_pages(linear.weight);
  args.outputs[0].weight = WeightRef(linear.weight);
  args.outputs[0].bias = linear.bias;
  args.outputs[0].residual = floats(residual);
  args.outputs[0].out = out.data;
  const LinearChoice& choice = table_.choose(layout.dtype, rows, layout.rows, layout.cols);
  run_linear(choice, layout.dtype, args, x, norm);
}

void CudaOps::linear(Tensor x, const NormView& norm, const LinearView& linear, Tensor residual,
                     Tensor out) {
  run_linear(x, step_.num_tokens, norm, linear, residual, out);
}

void CudaOps::linear_rows(Tensor x, int32_t num_rows, const NormView& norm,
                          const LinearView& linear, Tensor out) {
  run_linear(x, padded(num_rows), norm, linear, {}, out);
}

void CudaOps::qkv(Tensor x, const NormView& norm, const LinearView& q, const LinearView& k,
                  const LinearView& v, const NormView& q_norm, const NormView& k_norm,
                  const AttentionSpec& attention, Tensor q_out) {
  const int32_t tokens = step_.num_tokens;
  const RopeAngles angles = attention.rope >= 0 ? angles_[size_t(attention.rope)] : RopeAngles{};
  QkvShape shape{q.weight.layout.dtype, k.weight.layout.dtype, v.weight.layout.dtype};
  shape.num_heads = attention.num_heads;
  shape.has_head_norms = q_norm.kind != NormKind::kNone || k_norm.kind != NormKind::kNone;
  shape.rope_half = angles.half;
  shape.rope_interleaved = angles.interleaved;
  const LinearView* const views[] = {&q, &k, &v};
  void* const outs[] = {q_out.data, memory_.k, memory_.v};
  bool fuses = false;
  // Weights of one dtype go together.
  for (int first = 0; first < 3;) {
    const DType dtype = views[first]->weight.layout.dtype;
    LinearOp args;
    args.rows = tokens;
    args.cols = x.cols;
    args.num_outputs = 0;
    for (; first < 3 && views[first]->weight.layout.dtype == dtype; ++first) {
      LinearOutput& output = args.outputs[args.num_outputs++];
      output.weight = WeightRef(views[first]->weight);
      output.bias = views[first]->bias;
      output.out = outs[first];
    }
    const LinearChoice& choice = table_.choose(dtype, tokens, rows_of(args), args.cols);
    fuses = fuses_rope(choice.kernel, kv_.spec, shape, tokens);
    if (fuses) args.qkv = {kv_, attention.layer, step_.kv_slots, angles};
    run_linear(choice, dtype, args, x, norm);
  }
  if (fuses) return;
  rope_and_write_kv(stream_, step_, kv_, attention, q_norm, k_norm, angles, floats(q_out),
                    memory_.k, memory_.v);
}

Tensor CudaOps::attention(Tensor q, const AttentionSpec& attention, Tensor out) {
  AttentionArgs args;
  args.step = step_;
  args.kv = kv_;
  args.spec = attention;
  args.q = floats(q);
  args.out = out.data;
  args.partials = memory_.partials;
  args.arrivals = memory_.arrivals;
  const AttentionKernel kernel = choose_attention(table_.traits(), kv_.spec);
  args.out_is_operand = out.is_operand && kernel != AttentionKernel::kExact;
  out.form = args.out_is_operand ? kv_.spec.dtype : DType::kF32;
  if (kernel == AttentionKernel::kExact) {
    attention_exact(stream_, args);
    return out;
  }
  if (is_padded()) {
    attention_decode(stream_, args);
    return out;
  }
  for (const int32_t num_items : plan_.batches) {
    args.step.max_decodes = num_items;
    attention_decode(stream_, args);
    args.step.decodes += num_items;
    ++args.step.num_decodes;
  }
  if (step_.num_prefills == 0) return out;
  if (kernel == AttentionKernel::kSm90) {
    attention_prefill_sm90(stream_, args);
  } else {
    attention_prefill_sm80(stream_, args);
  }
  return out;
}

Tensor CudaOps::gate_up(Tensor x, const NormView& norm, const LinearView& gate,
                        const LinearView& up, Activation activation, Tensor out) {
  const DType dtype = up.weight.layout.dtype;
  LinearOp args;
  args.rows = step_.num_tokens;
  args.cols = x.cols;
  args.has_activation = true;
  args.activation = activation;
  args.out_is_operand = out.is_operand && !is_exact(table_.traits(), dtype);
  out.form = args.out_is_operand ? half_of(dtype) : DType::kF32;
  args.outputs[0].weight = WeightRef(up.weight);
  args.outputs[0].bias = up.bias;
  args.outputs[0].out = out.data;
  if (gate.weight.layout.rows > 0) {
    args.num_outputs = 2;
    args.outputs[1].weight = WeightRef(gate.weight);
    args.outputs[1].bias = gate.bias;
  }
  run_linear(table_.choose(dtype, args.rows, rows_of(args), args.cols), dtype, args, x, norm);
  return out;
}

void CudaOps::gather(Tensor x, int32_t first_row, int32_t num_rows, Tensor out) {
  cuda::gather(stream_, step_, floats(x), x.cols, first_row, padded(num_rows), floats(out));
}

void CudaOps::sample(Tensor logits, int32_t first_row, int32_t num_rows) {
  samplers_.sample(step_, floats(logits), logits.cols, first_row, padded(num_rows),
                   memory_.results);
}

}  // namespace hearth::cuda

namespace hearth {

Backend make_cuda_backend(const CudaOptions& options) {
  auto device = std::make_unique<cuda::CudaDevice>(options);
  auto packer = cuda::make_packer(*device);
  auto samplers = std::make_unique<cuda::CudaSamplers>(*device);
  auto ops = std::make_unique<cuda::CudaOps>(*device, *samplers, options.exact);
  return {std::move(device), std::move(packer), std::move(samplers), std::move(ops)};
}

}  // namespace hearth
