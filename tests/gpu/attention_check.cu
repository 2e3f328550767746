// Every attention kernel at small odd shapes, against float64 on the host: contexts around every
// border, prefixes, windows, grouped heads, NaN wherever no token is. And one result for a query,
// bit by bit, whether it came as a decode or as the last of a prefill, by any tensor-core kernel,
// and in however many launches.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

#include "backend/cuda/attention.h"
#include "gpu_tests.h"
#include "inputs.h"
#include "operand.h"
#include "step.h"

namespace hearth::gpu_tests {
namespace {

using namespace hearth::cuda;

struct Setup {
  KvSpec kv;
  int32_t num_heads, window, layer;
  bool out_is_operand;
  std::vector<Sequence> sequences;
  uint32_t seed;

  int32_t width() const { return num_heads * kv.head_dim; }
  int32_t group() const { return num_heads / kv.num_kv_heads; }
  float scale() const { return 1 / std::sqrt(float(kv.head_dim)); }
  std::string describe() const {
    return format("head_dim %d, %d/%d heads, window %d, %s, blocks of %d", kv.head_dim, num_heads,
                  kv.num_kv_heads, window, dtype_name(kv.dtype), kv.block_tokens);
  }
};

// ---------------------------------------------------------------------------------- the inputs

// Whatever batch it is in, what a sequence has at a position is the same.
float query_value(const Setup& setup, size_t sequence, int32_t position, int32_t head,
                  int32_t dim) {
  const uint64_t at = ((uint64_t(sequence) * 4096 + position) * setup.num_heads + head) * 256;
  return 16 * exact_half(setup.seed, at + dim);
}
float kv_value(const Setup& setup, bool is_value, size_t sequence, int32_t position, int32_t head,
               int32_t dim) {
  const uint64_t at = ((uint64_t(sequence) * 4096 + position) * 64 + head) * 256;
  return exact_half(setup.seed + 1 + is_value, at + dim);
}

std::vector<float> make_queries(const Setup& setup, const Batch& batch) {
  std::vector<float> queries;
  for (size_t s = 0; s + 1 < batch.query_start.size(); ++s) {
    for (int32_t t = batch.query_start[s]; t < batch.query_start[s + 1]; ++t) {
      for (int32_t head = 0; head < setup.num_heads; ++head) {
        for (int32_t d = 0; d < setup.kv.head_dim; ++d) {
          queries.push_back(query_value(setup, s, batch.positions[t], head, d));
        }
      }
    }
  }
  return queries;
}

void store_element(DType dtype, std::byte* cell, int32_t element, float value) {
  if (dtype == DType::kF32) {
    std::memcpy(cell + element * 4, &value, 4);
  } else {
    const uint16_t bits = half_bits(dtype, value);
    std::memcpy(cell + element * 2, &bits, 2);
  }
}

/// A KV cache with NaN everywhere but in the tokens of the layer.
std::vector<std::byte> make_cache(const Setup& setup, const Batch& batch) {
  const KvSpec& spec = setup.kv;
  std::vector<std::byte> cache(batch.num_blocks * spec.block_bytes(), std::byte(0xff));
  const KvCache host{spec, batch.num_blocks, cache.data()};
  for (size_t s = 0; s < batch.context_len.size(); ++s) {
    for (int32_t position = 0; position < batch.context_len[s]; ++position) {
      const int32_t block = batch.block(s, position / spec.block_tokens);
      for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
        for (const bool is_value : {false, true}) {
          std::byte* const cell = cell_address(host, setup.layer, block, is_value, head);
          for (int32_t d = 0; d < spec.head_dim; ++d) {
            store_element(spec.dtype, cell, kv_cell_element(spec, position % spec.block_tokens, d),
                          kv_value(setup, is_value, s, position, head, d));
          }
        }
      }
    }
  }
  return cache;
}

// ------------------------------------------------------------------------------- the reference

/// A query's result in float64. k, v: [context, head_dim] of its KV head; out: [head_dim].
void attend(const Setup& setup, const std::vector<double>& query, int32_t position,
            const std::vector<double>& k, const std::vector<double>& v, double* out) {
  const int32_t dims = setup.kv.head_dim;
  const int32_t first = setup.window > 0 ? std::max(0, position - setup.window + 1) : 0;
  std::vector<double> weights(position + 1);
  double most = -1e300, total = 0;
  for (int32_t token = first; token <= position; ++token) {
    double score = 0;
    for (int32_t d = 0; d < dims; ++d) score += query[d] * k[size_t(token) * dims + d];
    weights[token] = score * setup.scale();
    most = std::max(most, weights[token]);
  }
  for (int32_t token = first; token <= position; ++token) {
    weights[token] = std::exp(weights[token] - most);
    total += weights[token];
  }
  for (int32_t token = first; token <= position; ++token) {
    const double weight = weights[token] / total;
    for (int32_t d = 0; d < dims; ++d) out[d] += weight * v[size_t(token) * dims + d];
  }
}

/// Results of a sequence for the query heads of one KV head. out: [queries, heads, head_dim].
void attend_group(const Setup& setup, size_t sequence, int32_t kv_head, double* out) {
  const auto [context, queries] = setup.sequences[sequence];
  const int32_t dims = setup.kv.head_dim, group = setup.group();
  std::vector<double> k(size_t(context) * dims), v(k.size()), query(dims);
  for (size_t i = 0; i < k.size(); ++i) {
    k[i] = kv_value(setup, false, sequence, int32_t(i / dims), kv_head, int32_t(i % dims));
    v[i] = kv_value(setup, true, sequence, int32_t(i / dims), kv_head, int32_t(i % dims));
  }
  for (int32_t i = 0; i < queries; ++i) {
    const int32_t position = context - queries + i;
    for (int32_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      for (int32_t d = 0; d < dims; ++d) query[d] = query_value(setup, sequence, position, head, d);
      attend(setup, query, position, k, v, out + (size_t(i) * setup.num_heads + head) * dims);
    }
  }
}

/// float64 results of all queries, [token, head, dim], by a thread for each KV head of a sequence.
std::vector<double> make_expected(const Setup& setup) {
  size_t tokens = 0;
  for (const Sequence& s : setup.sequences) tokens += s.queries;
  std::vector<double> out(tokens * setup.width());
  std::vector<std::thread> threads;
  const auto join = [&] {
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  };
  size_t first = 0;
  for (size_t s = 0; s < setup.sequences.size(); ++s) {
    for (int32_t kv_head = 0; kv_head < setup.kv.num_kv_heads; ++kv_head) {
      threads.emplace_back([&setup, s, kv_head, to = out.data() + first * setup.width()] {
        attend_group(setup, s, kv_head, to);
      });
      if (threads.size() >= 16) join();
    }
    first += setup.sequences[s].queries;
  }
  join();
  return out;
}

// -------------------------------------------------------------------------------------- a run

struct Kernel {
  const char* name;  // of what takes several queries; one is decode's
  void (*prefill)(Stream&, const AttentionArgs&);
  bool is_exact;
};
constexpr Kernel kExact = {"exact", nullptr, true};
constexpr Kernel kSm80 = {"prefill_sm80", attention_prefill_sm80, false};
constexpr Kernel kSm90 = {"prefill_sm90", attention_prefill_sm90, false};

/// All of a step's decodes, launch by launch.
void run_decodes(Stream& stream, AttentionArgs args, const AttentionPlan& plan) {
  for (const int32_t num_items : plan.batches) {
    args.step.max_decodes = num_items;
    attention_decode(stream, args);
    args.step.decodes += num_items;
    ++args.step.num_decodes;
  }
}

void run_kernels(CudaDevice& device, const std::string& what, const Kernel& kernel,
                 const AttentionArgs& args, const AttentionPlan& plan) {
  note(kernel.name + (" or decode, " + what));
  if (kernel.is_exact) {
    attention_exact(device.stream(), args);
  } else {
    run_decodes(device.stream(), args, plan);
    finish(device, "attention_decode");
    if (args.step.num_prefills > 0) kernel.prefill(device.stream(), args);
  }
  finish(device, kernel.name);
}

/// Runs sequences of a set-up and returns their rows, [token, head * dim]. NaN where nothing was
/// written. max_items: of a launch of decodes.
std::vector<float> run(CudaDevice& device, const Setup& setup,
                       const std::vector<Sequence>& sequences, const Kernel& kernel,
                       int32_t max_items = INT_MAX) {
  const Batch batch(sequences, setup.kv.block_tokens, setup.seed);
  const DeviceStep step(device, batch, max_items);
  const int32_t tokens = batch.num_tokens();
  const Memory cache = upload(device, make_cache(setup, batch));
  const Memory queries = upload(device, make_queries(setup, batch));
  const bool is_operand = setup.out_is_operand && !kernel.is_exact;
  const Memory out =
      poisoned(device, is_operand ? operand_bytes(tokens, setup.width()) : queries.bytes());
  const Memory partials =
      poisoned(device, sizeof(float) * partials_floats(int32_t(step.plan.decodes.size()),
                                                       setup.num_heads, setup.kv.head_dim));
  const Memory arrivals = zeroed(device, sequences.size() * setup.num_heads * sizeof(int32_t));

  AttentionArgs args;
  args.step = step.view;
  args.kv = {setup.kv, batch.num_blocks, cache.data()};
  args.spec.layer = setup.layer;
  args.spec.num_heads = setup.num_heads;
  args.spec.scale = setup.scale();
  args.spec.window = setup.window;
  args.q = queries.as<float>();
  args.out = out.data();
  args.out_is_operand = is_operand;
  args.partials = partials.as<float>();
  args.arrivals = arrivals.as<int32_t>();
  run_kernels(device, setup.describe(), kernel, args, step.plan);

  for (const int32_t count : download<int32_t>(device, arrivals)) {
    if (count != 0) fail("%s: arrivals are left at %d", kernel.name, count);
  }
  if (!is_operand) return download<float>(device, out);
  return read_operand(setup.kv.dtype, download<uint16_t>(device, out), tokens, setup.width());
}

// ---------------------------------------------------------------------------------- the checks

void compare_with_reference(const Setup& setup, const Kernel& kernel,
                            const std::vector<float>& actual, const std::vector<double>& expected) {
  const double bound = kernel.is_exact ? 1e-5 : setup.kv.dtype == DType::kBF16 ? 1e-2 : 2e-3;
  const Difference difference = compare(actual, expected);
  if (difference.is_within(bound)) return;
  fail("attention %s, %s: %s (first: token %zu, column %zu)", kernel.name, setup.describe().c_str(),
       difference.describe().c_str(), difference.first_wrong / setup.width(),
       difference.first_wrong % setup.width());
}

size_t count_differences(const float* a, const float* b, size_t count) {
  size_t differ = 0;
  for (size_t i = 0; i < count; ++i) differ += std::memcmp(a + i, b + i, sizeof(float)) != 0;
  return differ;
}

/// The last query of each sequence, made with its whole batch and as a decode, has the same bits.
void compare_last(const Setup& setup, const Kernel& kernel, const std::vector<float>& together,
                  const std::vector<float>& decoded) {
  const size_t width = setup.width();
  size_t end = 0, differ = 0;
  for (size_t s = 0; s < setup.sequences.size(); ++s) {
    end += setup.sequences[s].queries;
    differ += count_differences(&together[(end - 1) * width], &decoded[s * width], width);
  }
  if (differ > 0) {
    fail("attention %s, %s: %zu of %zu last results have other bits than the decode's", kernel.name,
         setup.describe().c_str(), differ, decoded.size());
  }
}

/// So few items a launch that only the longest context has one of its own.
int32_t fewest_items(const Setup& setup) {
  int32_t most = 0;
  for (const Sequence& s : setup.sequences) most = std::max(most, num_chunks(s.context));
  return most;
}

void check_setup(CudaDevice& device, const Options& options, const Setup& setup) {
  const std::vector<double> expected = make_expected(setup);
  if (!is_listed(options.skip, kExact.name)) {
    compare_with_reference(setup, kExact, run(device, setup, setup.sequences, kExact), expected);
  }
  if (setup.kv.dtype == DType::kF32 || !device.stream().has_tensor_cores()) return;
  if (is_listed(options.skip, "decode")) return;
  std::vector<Sequence> singles;
  for (const Sequence& s : setup.sequences) singles.push_back({s.context, 1});
  const std::vector<float> decoded = run(device, setup, singles, kSm80);
  const std::vector<float> in_parts = run(device, setup, singles, kSm80, fewest_items(setup));
  const size_t differ = count_differences(decoded.data(), in_parts.data(), decoded.size());
  if (differ > 0) {
    fail("attention decode, %s: %zu of %zu results have other bits in several launches",
         setup.describe().c_str(), differ, decoded.size());
  }
  for (const Kernel& kernel : {kSm80, kSm90}) {
    if (kernel.prefill == attention_prefill_sm90 && !device.stream().is_hopper()) continue;
    if (is_listed(options.skip, kernel.name)) continue;
    const std::vector<float> rows = run(device, setup, setup.sequences, kernel);
    compare_with_reference(setup, kernel, rows, expected);
    compare_last(setup, kernel, rows, decoded);
  }
}

/// Combinations that meet every value of each: all of them would take minutes.
std::vector<Setup> make_setups(bool reduced) {
  const std::vector<Sequence> mixed = {{1, 1},   {17, 17},  {127, 1},   {128, 1},  {129, 129},
                                       {511, 3}, {512, 1},  {513, 1},   {600, 90}, {300, 300},
                                       {1, 1},   {1100, 1}, {1040, 20}, {33, 2},   {640, 129}};
  const std::vector<Sequence> few = {{1, 1}, {140, 1}, {150, 140}, {530, 1}, {530, 9}};
  struct Heads {
    int32_t heads, kv_heads;
  };
  std::vector<Setup> setups;
  for (const int32_t head_dim : {64, 80, 96, 128, 256}) {
    for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
      for (const Heads heads : {Heads{2, 2}, Heads{8, 2}, Heads{7, 1}, Heads{20, 1}}) {
        const bool is_common = head_dim == 128 && dtype == DType::kF16;
        if (reduced && (!is_common && !(head_dim == 80 && dtype == DType::kBF16))) continue;
        if (!is_common && heads.heads != (head_dim == 64 || head_dim == 80 ? 8 : 2)) continue;
        for (const int32_t window : {0, 100}) {
          if (reduced && window != 0 && heads.heads != 8) continue;
          Setup setup;
          setup.kv = {3, heads.kv_heads, head_dim, 16, dtype};
          if (head_dim == 96 && window == 0) setup.kv.block_tokens = 64;
          if (head_dim == 64 && window == 0) setup.kv.block_tokens = 32;
          setup.num_heads = heads.heads;
          setup.window = window;
          setup.layer = 1;
          setup.out_is_operand = setups.size() % 4 != 3;
          setup.sequences = reduced ? few : mixed;
          setup.seed = uint32_t(500 + 10 * setups.size());
          setups.push_back(setup);
        }
      }
    }
  }
  if (reduced) return setups;
  // So many chunks that a decoding CTA has several of a context, begun and ended anywhere.
  Setup many;
  many.kv = {2, 8, 128, 16, DType::kF16};
  many.num_heads = 16;
  many.window = 0;
  many.layer = 1;
  many.out_is_operand = true;
  for (int32_t i = 0; i < 60; ++i) many.sequences.push_back({500 + i * 23, 2});
  many.seed = 400;
  setups.push_back(many);
  return setups;
}

}  // namespace

void check_attention(CudaDevice& device, const Options& options) {
  const std::vector<Setup> setups = make_setups(options.reduced);
  for (const Setup& setup : setups) check_setup(device, options, setup);
  std::printf("attention: %zu set-ups by every kernel\n", setups.size());
  std::fflush(stdout);
}

}  // namespace hearth::gpu_tests
