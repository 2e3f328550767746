#include "tiny_model.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>

namespace hearth::test {

namespace {

constexpr uint32_t kHidden = 32;
constexpr uint32_t kLayers = 2;
constexpr uint32_t kHeads = 4;
constexpr uint32_t kKvHeads = 2;
constexpr uint32_t kHeadDim = 8;
constexpr uint32_t kIntermediate = 48;

}  // namespace

TinyModel::TinyModel() {
  std::vector<float> inv_freq(kHeadDim / 2);
  for (size_t i = 0; i < inv_freq.size(); ++i) {
    inv_freq[i] = float(std::pow(10000.0, -2.0 * double(i) / kHeadDim));
  }
  spec.size = sizeof(spec);
  spec.vocab_size = kVocab;
  spec.hidden_size = spec.embedding_size = kHidden;
  spec.intermediate_size = kIntermediate;
  spec.num_layers = kLayers;
  spec.num_heads = kHeads;
  spec.num_kv_heads = kKvHeads;
  spec.head_dim = kHeadDim;
  spec.max_position = 128;
  spec.norm_kind = HEARTH_NORM_RMS;
  spec.activation = HEARTH_ACTIVATION_SILU;
  spec.gated = 1;
  spec.position_kind = HEARTH_POSITION_ROPE;
  spec.rope_style = HEARTH_ROPE_HALF;
  spec.rope_dim = kHeadDim;
  spec.norm_eps = 1e-5f;
  spec.attention_scale = 1 / std::sqrt(float(kHeadDim));
  spec.rope_scale = 1;
  spec.tied_embeddings = 1;
  spec.rope_inv_freq_offset = add_flat(inv_freq.data(), inv_freq.size() * sizeof(float));
  spec.rope_inv_freq_count = uint32_t(inv_freq.size());
  spec.fingerprint = 1;

  std::vector<float> weights;
  add_tensor(HEARTH_TENSOR_TOKEN_EMBEDDING, 0, kVocab, kHidden, weights);
  add_tensor(HEARTH_TENSOR_FINAL_NORM_WEIGHT, 0, kHidden, 0, weights);
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    add_tensor(HEARTH_TENSOR_ATTENTION_NORM_WEIGHT, layer, kHidden, 0, weights);
    add_tensor(HEARTH_TENSOR_Q_WEIGHT, layer, kHeads * kHeadDim, kHidden, weights);
    add_tensor(HEARTH_TENSOR_K_WEIGHT, layer, kKvHeads * kHeadDim, kHidden, weights);
    add_tensor(HEARTH_TENSOR_V_WEIGHT, layer, kKvHeads * kHeadDim, kHidden, weights);
    add_tensor(HEARTH_TENSOR_O_WEIGHT, layer, kHidden, kHeads * kHeadDim, weights);
    add_tensor(HEARTH_TENSOR_MLP_NORM_WEIGHT, layer, kHidden, 0, weights);
    add_tensor(HEARTH_TENSOR_GATE_WEIGHT, layer, kIntermediate, kHidden, weights);
    add_tensor(HEARTH_TENSOR_UP_WEIGHT, layer, kIntermediate, kHidden, weights);
    add_tensor(HEARTH_TENSOR_DOWN_WEIGHT, layer, kHidden, kIntermediate, weights);
  }
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-0.3f, 0.3f);
  for (float& weight : weights) weight = uniform(random);

  path = std::filesystem::temp_directory_path() / "hearth_tiny_XXXXXX";
  const int file = mkstemp(path.data());
  const ssize_t bytes = ssize_t(weights.size() * sizeof(float));
  if (file < 0 || write(file, weights.data(), size_t(bytes)) != bytes) std::abort();
  close(file);
  files.push_back(
      {sizeof(hearth_file), add_flat(path.data(), path.size()), uint32_t(path.size()), 0});

  options.size = sizeof(options);
  options.device_kind = HEARTH_DEVICE_CPU;
  options.manual = 1;
  options.num_threads = 2;
  options.activation_dtype = options.kv_cache_dtype = HEARTH_DTYPE_AUTO;
  options.num_kv_blocks = 16;
  options.max_num_seqs = 8;
  options.max_num_batched_tokens = 64;
}

TinyModel::~TinyModel() { std::remove(path.c_str()); }

hearth_engine_options TinyModel::sized_options() const {
  hearth_engine_options sized = options;
  sized.flat_bytes = uint32_t(flat.size());
  sized.num_tensors = uint32_t(tensors.size());
  sized.num_files = uint32_t(files.size());
  return sized;
}

hearth_status TinyModel::open(hearth_engine** engine, std::string& error) const {
  const hearth_engine_options sized = sized_options();
  char text[1024] = "";
  const hearth_status status = hearth_engine_open(&sized, &spec, tensors.data(), files.data(),
                                                  flat.data(), engine, text, sizeof(text));
  error = text;
  return status;
}

void TinyModel::add_tensor(uint32_t role, uint32_t layer, uint32_t rows, uint32_t cols,
                           std::vector<float>& weights) {
  const std::string name = "tensor " + std::to_string(tensors.size());
  const size_t count = size_t(rows) * (cols > 0 ? cols : 1);
  hearth_tensor tensor{};
  tensor.size = sizeof(tensor);
  tensor.role = role;
  tensor.layer = layer;
  tensor.dtype = HEARTH_DTYPE_F32;
  tensor.num_dims = cols > 0 ? 2 : 1;
  tensor.shape[0] = rows;
  tensor.shape[1] = cols > 0 ? cols : 1;
  tensor.file_offset = weights.size() * sizeof(float);
  tensor.num_bytes = count * sizeof(float);
  tensor.name_offset = add_flat(name.data(), name.size());
  tensor.name_bytes = uint32_t(name.size());
  tensors.push_back(tensor);
  weights.resize(weights.size() + count);
}

uint32_t TinyModel::add_flat(const void* bytes, size_t count) {
  flat.resize((flat.size() + 7) / 8 * 8);
  const uint32_t offset = uint32_t(flat.size());
  flat.resize(offset + count);
  std::memcpy(flat.data() + offset, bytes, count);
  return offset;
}

hearth_request_options greedy_options(uint32_t max_tokens) {
  hearth_request_options options{};
  options.size = sizeof(options);
  options.num_sequences = 1;
  options.max_tokens = max_tokens;
  options.top_p = 1;
  options.repetition_penalty = 1;
  options.logprobs = options.prompt_logprobs = HEARTH_LOGPROBS_NONE;
  return options;
}

}  // namespace hearth::test
