#include "cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>

#include "devices.h"
#include "rows.h"

namespace hearth::cuda {
namespace {

// Numbers of sequences that steps are recorded for.
constexpr int32_t kBuckets[] = {1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128};
constexpr int32_t kLeastTableColumns = 16;

float* floats(const Tensor& tensor) { return reinterpret_cast<float*>(tensor.data); }

DType half_of(DType weight) { return weight == DType::kBF16 ? DType::kBF16 : DType::kF16; }

int32_t power_of_two(int32_t at_least) {
  int32_t value = kLeastTableColumns;
  while (value < at_least) value *= 2;
  return value;
}

}  // namespace

CudaBackend::CudaBackend(const CudaOptions& options)
    : options_(options), uploads_(options.device_index) {
  const OpenDevice opened = open_device(options.device_index);
  device_ = opened.info;
  traits_ = {limit_code(opened.code, options.max_compute_capability), options.exact};
  stream_ = Stream(traits_.code, int32_t(device_.num_cores));
  samplers_ = std::make_unique<DeviceSamplers>(stream_);
  for (Slot& slot : slots_) {
    slot.begun = make_event();
    slot.done = make_event();
  }
}

CudaBackend::~CudaBackend() {
  cudaSetDevice(options_.device_index);
  cudaStreamSynchronize(stream_.handle);
  forget_recorded();
}

void CudaBackend::use_device() const {
  check(cudaSetDevice(options_.device_index), "Cannot use the device");
}

std::string CudaBackend::describe() const {
  return format("device: cuda:%d %s, compute capability %s\n", options_.device_index, device_.name,
                capability_name(int32_t(device_.best_isa)).c_str()) +
         describe_choices(traits_);
}

// --------------------------------------------------------------------------- weights, memory

WeightLayout CudaBackend::layout(DType dtype, int32_t rows, int32_t cols) const {
  return strip_layout(dtype, rows, cols);
}

void CudaBackend::pack(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
                       std::byte* dst) const {
  pack_strip(layout, source, num_rows, dst);
}

std::byte* CudaBackend::allocate(size_t bytes) {
  use_device();
  void* data = nullptr;
  const cudaError_t status = DeviceMemory::allocate(&data, std::max<size_t>(bytes, 1));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error(HEARTH_OUT_OF_MEMORY,
                format("Cannot allocate %zu bytes of device memory, %zu are free: lower "
                       "kv_cache_memory_bytes, max_num_batched_tokens or max_model_len",
                       bytes, free));
  }
  check(status, "Cannot allocate device memory");
  return static_cast<std::byte*>(data);
}

void CudaBackend::free(std::byte* device) {
  cudaSetDevice(options_.device_index);
  cudaFree(device);
}

void CudaBackend::upload(std::byte* device, const void* host, size_t bytes) {
  uploads_.upload(device, host, bytes);
}

void CudaBackend::download(void* host, const std::byte* device, size_t bytes) {
  use_device();
  check(cudaStreamSynchronize(stream_.handle), "Cannot copy from the device");
  check(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost), "Cannot copy from the device");
}

size_t CudaBackend::tensor_bytes(int32_t rows, int32_t cols) const {
  return std::max(size_t(rows) * cols * sizeof(float), operand_bytes(rows, cols));
}

void CudaBackend::randomize(const WeightLayout& layout, std::byte* tiles, int32_t num_tiles,
                            uint64_t seed) {
  use_device();
  randomize_strips(stream_, layout, tiles, num_tiles, seed);
}

int32_t CudaBackend::kv_element(const KvSpec& spec, bool /*is_value*/, int32_t token,
                                int32_t dim) const {
  return kv_cell_element(spec, token, dim);
}

// What a recorded step reads may still be its old memory: that is kept.
void CudaBackend::ensure(DeviceBuffer& buffer, size_t bytes) {
  if (bytes <= buffer.bytes()) return;
  DeviceBuffer larger(bytes);
  std::swap(buffer, larger);
  if (larger.bytes() > 0) retired_.push_back(std::move(larger));
}

void CudaBackend::reserve(const StepSizes& sizes) {
  use_device();
  sizes_ = sizes;
  const int32_t rows = std::max(sizes.tokens, sizes.logits_rows);
  if (traits_.exact) {
    ensure(floats_, size_t(rows) * sizes.cols * sizeof(float));
  } else {
    ensure(operand_, operand_bytes(rows, sizes.cols));
  }
  ensure(k_, size_t(sizes.tokens) * sizes.kv_cols * sizeof(float));
  ensure(v_, size_t(sizes.tokens) * sizes.kv_cols * sizeof(float));
}

size_t CudaBackend::scratch_bytes(const StepSizes& sizes) const {
  const int32_t rows = std::max(sizes.tokens, sizes.logits_rows);
  const size_t input =
      traits_.exact ? size_t(rows) * sizes.cols * sizeof(float) : operand_bytes(rows, sizes.cols);
  return input + 2 * size_t(sizes.tokens) * sizes.kv_cols * sizeof(float);
}

int32_t CudaBackend::bind_sampler(const SamplerSpec& spec) {
  use_device();
  return samplers_->bind(spec);
}

void CudaBackend::release_sampler(int32_t sampler) { samplers_->release(sampler); }

// ------------------------------------------------------------------------------- begin, end

// The number of sequences that a step is recorded for; 0: it is not.
int32_t CudaBackend::recorded_size(const StepInput& input) const {
  const int32_t count = input.num_tokens();
  if (input.num_sequences() != count || int32_t(input.logits_tokens.size()) != count ||
      int32_t(input.samples.size()) != count || !input.block_copies.empty()) {
    return 0;
  }
  for (int32_t i = 0; i < count; ++i) {
    if (input.query_start[i + 1] != i + 1 || input.logits_tokens[i] != i ||
        input.samples[i].logits_row != i || input.samples[i].target >= 0) {
      return 0;
    }
  }
  const auto bucket = std::lower_bound(std::begin(kBuckets), std::end(kBuckets), count);
  if (bucket == std::end(kBuckets)) return 0;
  const int32_t size = std::min({*bucket, sizes_.tokens, sizes_.logits_rows});
  return size >= count ? size : 0;
}

bool CudaBackend::begin_step(const StepInput& input, const RopeView& rope, const KvCache& kv,
                             bool same_ops) {
  use_device();
  Slot& slot = this->slot(num_begun_++);
  slot.is_closed = false;
  slot.samples.assign(input.samples.begin(), input.samples.end());
  slot.result.samples.clear();
  kv_ = kv;
  num_input_tokens_ = input.num_tokens();
  rope_interleaved_ = rope.interleaved;
  launches_before_ = stream_.num_launches;

  plan_.make(input);
  const std::vector<SampleGroup> groups = group_samples(input.samples);
  const int32_t size = same_ops ? recorded_size(input) : 0;
  StepLayout layout;
  layout.rope_half = int32_t(rope.inv_freq.size());
  layout.num_prefills = int32_t(plan_.prefills.size());
  if (size > 0) {
    layout.num_tokens = layout.num_sequences = layout.num_logits = size;
    layout.num_samples = layout.num_groups = size;
    layout.max_blocks = power_of_two(input.max_blocks);
    layout.max_decodes = max_decode_items(size, layout.max_blocks * kv.spec.block_tokens);
  } else {
    layout.num_tokens = input.num_tokens();
    layout.num_sequences = input.num_sequences();
    layout.num_logits = int32_t(input.logits_tokens.size());
    layout.num_samples = int32_t(input.samples.size());
    layout.num_groups = int32_t(groups.size());
    layout.max_blocks = input.max_blocks;
    layout.max_decodes = int32_t(plan_.decodes.size());
  }
  const size_t bytes = layout.place(nullptr, step_);
  reserve_step(layout, bytes);
  layout.place(input_.data(), step_);
  step_.rope_cos = rope_.data<float>();
  step_.rope_sin = rope_.data<float>() + size_t(layout.num_tokens) * layout.rope_half;
  step_.drawn = drawn_.data<int32_t>();

  if (slot.input.bytes() < bytes) slot.input = PinnedBuffer(bytes * 2);
  pack_step(input, plan_, groups, rope, layout, slot.input.data());
  check(cudaMemcpyAsync(input_.data(), slot.input.data(), bytes, cudaMemcpyHostToDevice,
                        stream_.handle),
        "Cannot begin a step");
  check(cudaEventRecord(slot.begun, stream_.handle), "Cannot begin a step");
  const size_t block_bytes = kv.spec.block_bytes();
  for (const BlockCopy& copy : input.block_copies) {
    check(cudaMemcpyAsync(kv.data + copy.to * block_bytes, kv.data + copy.from * block_bytes,
                          block_bytes, cudaMemcpyDeviceToDevice, stream_.handle),
          "Cannot copy KV blocks");
  }
  samplers_->upload_changes(input.samples);

  record_key_ = {size, layout.max_blocks};
  if (size > 0) {
    const auto found = recorded_.find(record_key_);
    if (found != recorded_.end()) {
      launch_recorded(found->second);
      return false;
    }
    check(cudaStreamBeginCapture(stream_.handle, cudaStreamCaptureModeRelaxed),
          "Cannot record a step");
    is_recording_ = true;
  }
  rope_table(stream_, step_, layout.inv_freq(input_.data()), layout.rope_half, rope.scale);
  return true;
}

// Memory that steps of this layout read and write at addresses a recorded step knows.
void CudaBackend::reserve_step(const StepLayout& layout, size_t input_bytes) {
  const size_t rope_bytes = 2 * size_t(layout.num_tokens) * layout.rope_half * sizeof(float);
  const size_t sample_rows = std::max(layout.num_samples, 1);
  // What heads make is multiplied next. A step without attention may have none.
  const int32_t most_heads = sizes_.cols / std::max(kv_.spec.head_dim, 1);
  const size_t arrivals = size_t(layout.num_sequences) * most_heads * sizeof(int32_t);
  const bool grows = input_bytes > input_.bytes() || rope_bytes > rope_.bytes() ||
                     sample_rows * sizeof(DeviceSample) > results_.bytes() ||
                     arrivals > arrivals_.bytes();
  if (!grows) return;
  check(cudaStreamSynchronize(stream_.handle), "Cannot begin a step");
  forget_recorded();
  const auto grow = [](DeviceBuffer& buffer, size_t bytes) {
    if (bytes > buffer.bytes()) buffer = DeviceBuffer(bytes + bytes / 2);
  };
  grow(input_, input_bytes);
  grow(rope_, rope_bytes);
  grow(results_, sample_rows * sizeof(DeviceSample));
  if (results_.bytes() / sizeof(DeviceSample) * sizeof(int32_t) > drawn_.bytes()) {
    // The step to come may name what the last one drew.
    DeviceBuffer drawn(results_.bytes() / sizeof(DeviceSample) * sizeof(int32_t));
    check(cudaMemcpy(drawn.data(), drawn_.data(), drawn_.bytes(), cudaMemcpyDeviceToDevice),
          "Cannot begin a step");
    std::swap(drawn, drawn_);
  }
  if (arrivals > arrivals_.bytes()) arrivals_ = zeroed_buffer(arrivals * 2);
  check(cudaDeviceSynchronize(), "Cannot begin a step");
}

void CudaBackend::launch_recorded(const Recorded& recorded) {
  check(cudaGraphLaunch(recorded.graph, stream_.handle), "Cannot launch a recorded step");
  stream_.num_launches += recorded.num_launches;
}

void CudaBackend::forget_recorded() {
  for (auto& [key, recorded] : recorded_) cudaGraphExecDestroy(recorded.graph);
  recorded_.clear();
  retired_.clear();
}

void CudaBackend::end_step() {
  if (is_recording_) {
    is_recording_ = false;
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_.handle, &graph), "Cannot record a step");
    Recorded recorded;
    recorded.num_launches = stream_.num_launches - launches_before_;
    stream_.num_launches = launches_before_;
    const cudaError_t status = cudaGraphInstantiate(&recorded.graph, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "Cannot record a step");
    recorded_[record_key_] = recorded;
    launch_recorded(recorded);
  }
  Slot& slot = this->slot(num_begun_ - 1);
  const size_t bytes = slot.samples.size() * sizeof(DeviceSample);
  if (slot.results.bytes() < bytes) slot.results = PinnedBuffer(bytes * 2);
  if (bytes > 0) {
    check(cudaMemcpyAsync(slot.results.data(), results_.data(), bytes, cudaMemcpyDeviceToHost,
                          stream_.handle),
          "Cannot end a step");
  }
  check(cudaEventRecord(slot.done, stream_.handle), "Cannot end a step");
  slot.is_closed = true;
  num_launches_ += stream_.num_launches - launches_before_;
}

const StepResult& CudaBackend::finish_step() {
  use_device();
  Slot& slot = this->slot(num_finished_++);
  if (!slot.is_closed) {  // an op of it has thrown
    if (is_recording_) {
      is_recording_ = false;
      cudaGraph_t graph = nullptr;
      cudaStreamEndCapture(stream_.handle, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      cudaGetLastError();
    }
    check(cudaStreamSynchronize(stream_.handle), "Cannot finish a step");
    return slot.result;
  }
  check(cudaEventSynchronize(slot.done), "Cannot finish a step");
  float milliseconds = 0;
  if (cudaEventElapsedTime(&milliseconds, slot.begun, slot.done) == cudaSuccess) {
    device_nanoseconds_ += uint64_t(milliseconds * 1e6);
  }
  const DeviceSample* results = slot.results.data<DeviceSample>();
  for (size_t i = 0; i < slot.samples.size(); ++i) {
    const DeviceSample& from = results[i];
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

// Rows that an op has to make for a step's tokens: a recorded step is padded.
int32_t CudaBackend::padded(int32_t rows) const {
  return is_recording_ && rows == num_input_tokens_ ? step_.num_tokens : rows;
}

void CudaBackend::embed(const WeightView& token_embedding, Tensor out) {
  StripMap table;
  map_strips(token_embedding, table);
  cuda::embed(stream_, step_, token_embedding.layout.dtype, table, out.cols, floats(out));
}

void CudaBackend::add_position(const WeightView& position_embedding, int32_t position_offset,
                               Tensor x) {
  StripMap table;
  map_strips(position_embedding, table);
  cuda::add_position(stream_, step_, position_embedding.layout.dtype, table, position_offset,
                     x.cols, floats(x));
}

void CudaBackend::norm(Tensor x, const NormView& norm, Tensor out) {
  norm_rows(stream_, floats(x), step_.num_tokens, x.cols, norm, floats(out));
}

DType CudaBackend::form_of(const Tensor& x) const {
  const auto found = x.is_operand ? forms_.find(x.data) : forms_.end();
  return found != forms_.end() ? found->second : DType::kF32;
}

// A linear op's input: its kernel's own affair where it norms, else made by one ahead of it.
void CudaBackend::set_input(LinearArgs& args, Tensor x, const NormView& norm, DType weight) {
  if (choose_linear(traits_, weight, args.rows, 1) == LinearKernel::kStreamSm90 &&
      norms_itself(args.rows, x.cols) && form_of(x) == DType::kF32) {
    args.raw = floats(x);
    args.norm = norm;
  } else {
    args.x = prepare_input(x, args.rows, norm, weight);
  }
}

// The input of a linear op over a weight of this dtype: normed, in the form that its kernel reads.
const void* CudaBackend::prepare_input(Tensor x, int32_t rows, const NormView& norm, DType weight) {
  const DType form = form_of(x);
  const bool exact = is_exact(traits_, weight);
  if (form != DType::kF32) {
    if (!exact && form == half_of(weight)) return x.data;
    ensure(unpacked_, size_t(rows) * x.cols * sizeof(float));
    operand_to_floats(stream_, x.data, rows, x.cols, form, unpacked_.data<float>());
    x.data = unpacked_.data();
  }
  if (!exact) {
    ensure(operand_, operand_bytes(rows, x.cols));
    norm_operand(stream_, floats(x), rows, x.cols, norm, half_of(weight), operand_.data());
    return operand_.data();
  }
  if (norm.kind == NormKind::kNone) return x.data;
  ensure(floats_, size_t(rows) * x.cols * sizeof(float));
  norm_rows(stream_, floats(x), rows, x.cols, norm, floats_.data<float>());
  return floats_.data();
}

void CudaBackend::run_linear(DType weight, const LinearArgs& args) {
  int32_t rows = 0;
  for (int i = 0; i < args.num_outputs; ++i) rows += args.outputs[i].weight.rows;
  switch (choose_linear(traits_, weight, args.rows, rows)) {
    case LinearKernel::kExact: return linear_exact(stream_, weight, args);
    case LinearKernel::kStreamSm80: return linear_stream_sm80(stream_, weight, args);
    case LinearKernel::kStreamSm90: return linear_stream_sm90(stream_, weight, args);
    case LinearKernel::kGemmSm80: return linear_gemm_sm80(stream_, weight, args);
    case LinearKernel::kGemmSm90: return linear_gemm_sm90(stream_, weight, args);
  }
}

void CudaBackend::linear(Tensor x, int32_t rows, const NormView& norm, const LinearView& linear,
                         Tensor residual, Tensor out) {
  const WeightLayout& layout = linear.weight.layout;
  LinearArgs args;
  args.rows = padded(rows);
  args.cols = layout.cols;
  map_strips(linear.weight, args.outputs[0].weight);
  args.outputs[0].bias = linear.bias;
  args.outputs[0].residual = floats(residual);
  args.outputs[0].out = out.data;
  set_input(args, x, norm, layout.dtype);
  run_linear(layout.dtype, args);
}

void CudaBackend::qkv(Tensor x, const NormView& norm, const LinearView& q, const LinearView& k,
                      const LinearView& v, const NormView& q_norm, const NormView& k_norm,
                      const AttentionSpec& attention, Tensor q_out) {
  const int32_t tokens = step_.num_tokens;
  QkvShape shape{q.weight.layout.dtype, k.weight.layout.dtype, v.weight.layout.dtype};
  shape.num_heads = attention.num_heads;
  shape.has_head_norms = q_norm.kind != NormKind::kNone || k_norm.kind != NormKind::kNone;
  shape.rope_half = rope_half();
  shape.rope_interleaved = rope_interleaved_;
  const bool fuses = fuses_rope(traits_, kv_.spec, shape, tokens);
  if (!fuses) {
    const size_t kv_bytes =
        size_t(tokens) * kv_.spec.num_kv_heads * kv_.spec.head_dim * sizeof(float);
    ensure(k_, kv_bytes);
    ensure(v_, kv_bytes);
  }
  const LinearView* const views[] = {&q, &k, &v};
  void* const outs[] = {q_out.data, k_.data(), v_.data()};
  // Weights of one dtype go together.
  for (int first = 0; first < 3;) {
    const DType dtype = views[first]->weight.layout.dtype;
    LinearArgs args;
    args.rows = tokens;
    args.cols = x.cols;
    args.num_outputs = 0;
    for (; first < 3 && views[first]->weight.layout.dtype == dtype; ++first) {
      LinearOutput& output = args.outputs[args.num_outputs++];
      map_strips(views[first]->weight, output.weight);
      output.bias = views[first]->bias;
      output.out = outs[first];
    }
    if (fuses) {
      args.qkv = {kv_,           attention.layer, shape.rope_half, step_.kv_slots, step_.rope_cos,
                  step_.rope_sin};
    }
    set_input(args, x, norm, dtype);
    run_linear(dtype, args);
  }
  if (fuses) return;
  rope_and_write_kv(stream_, step_, kv_, attention, q_norm, k_norm, shape.rope_half,
                    rope_interleaved_, floats(q_out), k_.data<float>(), v_.data<float>());
}

void CudaBackend::attention(Tensor q, const AttentionSpec& attention, Tensor out) {
  AttentionArgs args;
  args.step = step_;
  args.kv = kv_;
  args.spec = attention;
  args.q = floats(q);
  args.out = out.data;
  const AttentionKernel kernel = choose_prefill(traits_, kv_.spec);
  args.out_is_operand = out.is_operand && kernel != AttentionKernel::kExact;
  if (out.is_operand) forms_[out.data] = args.out_is_operand ? kv_.spec.dtype : DType::kF32;
  if (kernel == AttentionKernel::kExact) return attention_exact(stream_, args);
  if (step_.max_decodes > 0) {
    ensure(partials_, partials_floats(step_.max_decodes, attention.num_heads, kv_.spec.head_dim) *
                          sizeof(float));
    args.partials = partials_.data<float>();
    args.arrivals = arrivals_.data<int32_t>();
    attention_decode(stream_, args);
  }
  if (step_.num_prefills == 0) return;
  if (kernel == AttentionKernel::kSm90) {
    attention_prefill_sm90(stream_, args);
  } else {
    attention_prefill_sm80(stream_, args);
  }
}

void CudaBackend::gate_up(Tensor x, const NormView& norm, const LinearView& gate,
                          const LinearView& up, Activation activation, Tensor out) {
  const DType dtype = up.weight.layout.dtype;
  LinearArgs args;
  args.rows = step_.num_tokens;
  args.cols = x.cols;
  args.has_activation = true;
  args.activation = activation;
  args.out_is_operand = out.is_operand && !is_exact(traits_, dtype);
  if (out.is_operand) forms_[out.data] = args.out_is_operand ? half_of(dtype) : DType::kF32;
  map_strips(up.weight, args.outputs[0].weight);
  args.outputs[0].bias = up.bias;
  args.outputs[0].out = out.data;
  if (gate.weight.layout.rows > 0) {
    if (gate.weight.layout.dtype != dtype) {
      throw Error(HEARTH_UNSUPPORTED,
                  "Cannot run a gated layer: gate and up must be of one dtype on CUDA");
    }
    args.num_outputs = 2;
    map_strips(gate.weight, args.outputs[1].weight);
    args.outputs[1].bias = gate.bias;
  }
  set_input(args, x, norm, dtype);
  run_linear(dtype, args);
}

void CudaBackend::gather(Tensor x, int32_t first_row, int32_t num_rows, Tensor out) {
  cuda::gather(stream_, step_, floats(x), x.cols, first_row, padded(num_rows), floats(out));
}

void CudaBackend::sample(Tensor logits, int32_t first_row, int32_t num_rows) {
  samplers_->sample(step_, floats(logits), logits.cols, first_row, padded(num_rows),
                    results_.data<DeviceSample>());
}

}  // namespace hearth::cuda

namespace hearth {

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  return std::make_unique<cuda::CudaBackend>(options);
}

}  // namespace hearth
