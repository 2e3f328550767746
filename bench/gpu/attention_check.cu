// Every attention kernel at small odd shapes, against float64 on the host: contexts around every
// border, prefixes, windows, grouped heads, NaN wherever no token is. And one result for a query,
// bit by bit, whether it came as a decode or as the last of a prefill, by any tensor-core kernel.
#include <cstring>
#include <numeric>
#include <random>
#include <thread>

#include "backend/cuda/attention.h"
#include "backend/cuda/attention_plan.h"
#include "backend/cuda/dispatch.h"
#include "bench.cuh"
#include "exact_halves.h"

namespace hearth::bench {
namespace {

using namespace hearth::cuda;

struct Sequence {
  int32_t context, queries;
};

struct Setup {
  KvSpec kv;
  int32_t num_heads, window, layer;
  bool out_is_operand;
  std::vector<Sequence> sequences;
  uint32_t seed;
};

/// K and V of one layer as tokens, and the queries of the last tokens.
class Inputs {
 public:
  explicit Inputs(const Setup& setup) : setup_(setup) {}

  // Whatever batch it is in, the query at a position of a sequence is the same.
  float q(int32_t sequence, int32_t position, int32_t head, int32_t dim) const {
    const uint64_t at = ((uint64_t(sequence) * 4096 + position) * setup_.num_heads + head) * 256;
    return 16 * exact_half(setup_.seed, at + dim);
  }
  float k(int32_t sequence, int32_t position, int32_t head, int32_t dim) const {
    const uint64_t at = ((uint64_t(sequence) * 4096 + position) * 64 + head) * 256;
    return exact_half(setup_.seed + 1, at + dim);
  }
  float v(int32_t sequence, int32_t position, int32_t head, int32_t dim) const {
    const uint64_t at = ((uint64_t(sequence) * 4096 + position) * 64 + head) * 256;
    return exact_half(setup_.seed + 2, at + dim);
  }
  float scale() const { return 1 / std::sqrt(float(setup_.kv.head_dim)); }

  /// float64 results of all queries of the batch, [token, head, dim].
  std::vector<double> expected(const std::vector<Sequence>& batch) const {
    const int32_t heads = setup_.num_heads, dims = setup_.kv.head_dim;
    const int32_t group = heads / setup_.kv.num_kv_heads;
    std::vector<double> out;
    std::vector<std::thread> threads;
    size_t tokens = 0;
    for (const Sequence& s : batch) tokens += s.queries;
    out.resize(tokens * heads * dims);
    size_t first = 0;
    for (size_t s = 0; s < batch.size(); first += batch[s++].queries) {
      // A thread a KV head: K and V of a sequence are made once.
      for (int32_t kv_head = 0; kv_head < setup_.kv.num_kv_heads; ++kv_head) {
        threads.emplace_back([&, s, kv_head, first] {
          const auto [context, queries] = batch[s];
          std::vector<double> k(size_t(context) * dims), v(k.size()), weights(context);
          for (size_t i = 0; i < k.size(); ++i) {
            k[i] = this->k(int32_t(s), int32_t(i / dims), kv_head, int32_t(i % dims));
            v[i] = this->v(int32_t(s), int32_t(i / dims), kv_head, int32_t(i % dims));
          }
          for (int32_t i = 0; i < queries; ++i) {
            const int32_t position = context - queries + i;
            const int32_t from = setup_.window > 0 ? std::max(0, position - setup_.window + 1) : 0;
            for (int32_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
              double most = -1e300, total = 0;
              std::vector<double> query(dims);
              for (int32_t d = 0; d < dims; ++d) query[d] = q(int32_t(s), position, head, d);
              for (int32_t token = from; token <= position; ++token) {
                double score = 0;
                for (int32_t d = 0; d < dims; ++d) {
                  score += query[d] * k[size_t(token) * dims + d];
                }
                weights[token] = score * scale();
                most = std::max(most, weights[token]);
              }
              for (int32_t token = from; token <= position; ++token) {
                weights[token] = std::exp(weights[token] - most);
                total += weights[token];
              }
              double* to = out.data() + ((first + i) * heads + head) * dims;
              for (int32_t token = from; token <= position; ++token) {
                const double weight = weights[token] / total;
                for (int32_t d = 0; d < dims; ++d) to[d] += weight * v[size_t(token) * dims + d];
              }
            }
          }
        });
        if (threads.size() >= 16) {
          for (std::thread& thread : threads) thread.join();
          threads.clear();
        }
      }
    }
    for (std::thread& thread : threads) thread.join();
    return out;
  }

 private:
  const Setup& setup_;
};

enum class Kernel { kDecodeAndSm80, kDecodeAndSm90, kExact };
constexpr const char* kKernelNames[] = {"prefill_sm80", "prefill_sm90", "exact"};  // and decode

std::string describe(const Setup& setup, Kernel kernel) {
  return format("%s, head_dim %d, %d/%d heads, window %d, %s, blocks of %d",
                kKernelNames[int(kernel)], setup.kv.head_dim, setup.num_heads,
                setup.kv.num_kv_heads, setup.window,
                setup.kv.dtype == DType::kF16   ? "F16"
                : setup.kv.dtype == DType::kF32 ? "F32"
                                                : "BF16",
                setup.kv.block_tokens);
}

/// Runs a batch and returns its rows as floats, [token, head * dim]. NaN where nothing was written.
std::vector<float> run(Stream& stream, const Setup& setup, const std::vector<Sequence>& batch,
                       Kernel kernel) {
  const Inputs inputs(setup);
  const KvSpec& kv = setup.kv;
  const int32_t heads = setup.num_heads, dims = kv.head_dim, block = kv.block_tokens;
  int32_t max_blocks = 0, tokens = 0, used = 0;
  for (const Sequence& s : batch) {
    max_blocks = std::max(max_blocks, (s.context + block - 1) / block);
    used += (s.context + block - 1) / block;
    tokens += s.queries;
  }
  std::vector<int32_t> free(used + 3);
  std::iota(free.begin(), free.end(), 0);
  std::shuffle(free.begin(), free.end(), std::mt19937(setup.seed));
  std::vector<int32_t> table(batch.size() * max_blocks, -1), query_start = {0}, context_len;
  std::vector<int32_t> positions, slots;
  std::vector<float> q;

  // Everything NaN but the tokens of this layer.
  std::vector<std::byte> cache(free.size() * kv.block_bytes(), std::byte(0xff));
  size_t next = 0;
  for (size_t s = 0; s < batch.size(); ++s) {
    const auto [context, queries] = batch[s];
    for (int32_t i = 0; i * block < context; ++i) table[s * max_blocks + i] = free[next++];
    for (int32_t position = 0; position < context; ++position) {
      const size_t at = table[s * max_blocks + position / block];
      for (int32_t head = 0; head < kv.num_kv_heads; ++head) {
        for (const bool is_value : {false, true}) {
          const size_t cell =
              ((at * kv.num_layers + setup.layer) * 2 + is_value) * kv.num_kv_heads + head;
          for (int32_t d = 0; d < dims; ++d) {
            const float value = is_value ? inputs.v(int32_t(s), position, head, d)
                                         : inputs.k(int32_t(s), position, head, d);
            const int32_t element = kv_cell_element(kv, position % block, d);
            std::byte* to = cache.data() + cell * kv.cell_bytes();
            if (kv.dtype == DType::kF32) {
              std::memcpy(to + element * 4, &value, 4);
            } else {
              const uint16_t bits = half_bits(kv.dtype, value);
              std::memcpy(to + element * 2, &bits, 2);
            }
          }
        }
      }
      if (position < context - queries) continue;
      positions.push_back(position);
      slots.push_back(table[s * max_blocks + position / block] * block + position % block);
      for (int32_t head = 0; head < heads; ++head) {
        for (int32_t d = 0; d < dims; ++d) q.push_back(inputs.q(int32_t(s), position, head, d));
      }
    }
    query_start.push_back(query_start.back() + queries);
    context_len.push_back(context);
  }

  const std::vector<int32_t> ids(tokens, 0);
  StepInput input;
  input.token_ids = ids;
  input.positions = positions;
  input.kv_slots = slots;
  input.query_start = query_start;
  input.context_len = context_len;
  input.block_table = table;
  input.max_blocks = max_blocks;
  AttentionPlan plan;
  plan.make(input);

  std::vector<DeviceBuffer> owned;
  const auto upload = [&](const auto& values) {
    using T = typename std::decay_t<decltype(values)>::value_type;
    owned.emplace_back(std::max<size_t>(values.size(), 1) * sizeof(T));
    check(cudaMemcpy(owned.back().data(), values.data(), values.size() * sizeof(T),
                     cudaMemcpyHostToDevice),
          "Cannot copy to the device");
    return owned.back().data<T>();
  };
  AttentionArgs args;
  StepView& step = args.step;
  step.num_tokens = tokens;
  step.num_sequences = int32_t(batch.size());
  step.max_blocks = max_blocks;
  step.token_ids = upload(ids);
  step.positions = upload(positions);
  step.kv_slots = upload(slots);
  step.query_start = upload(query_start);
  step.context_len = upload(context_len);
  step.block_table = upload(table);
  step.decodes = upload(plan.decodes);
  step.num_decodes = upload(std::vector<int32_t>{int32_t(plan.decodes.size())});
  step.max_decodes = int32_t(plan.decodes.size());
  step.prefills = upload(plan.prefills);
  step.num_prefills = int32_t(plan.prefills.size());
  args.kv = {kv, int32_t(free.size()), upload(cache)};
  args.spec = {setup.layer, heads, inputs.scale(), setup.window};
  args.q = upload(q);
  const bool is_operand = setup.out_is_operand && kernel != Kernel::kExact;
  const int32_t width = heads * dims;
  DeviceBuffer out(is_operand ? operand_bytes(tokens, width) : q.size() * sizeof(float));
  DeviceBuffer partials(sizeof(float) *
                        std::max<size_t>(1, partials_floats(step.max_decodes, heads, dims)));
  poison(out.data(), out.bytes());
  poison(partials.data(), partials.bytes());
  args.out = out.data();
  args.out_is_operand = is_operand;
  args.partials = partials.data<float>();
  args.arrivals = upload(std::vector<int32_t>(batch.size() * heads, 0));

  if (kernel == Kernel::kExact) {
    note("attention_exact " + describe(setup, kernel));
    attention_exact(stream, args);
  } else {
    note("attention_decode " + describe(setup, kernel));
    if (step.max_decodes > 0) attention_decode(stream, args);
    check(cudaStreamSynchronize(stream.handle), "attention_decode");
    note("attention_prefill " + describe(setup, kernel));
    if (step.num_prefills > 0) {
      (kernel == Kernel::kDecodeAndSm90 ? attention_prefill_sm90 : attention_prefill_sm80)(stream,
                                                                                           args);
    }
  }
  check(cudaStreamSynchronize(stream.handle), kKernelNames[int(kernel)]);
  std::vector<int32_t> arrivals(batch.size() * heads);
  cudaMemcpy(arrivals.data(), args.arrivals, arrivals.size() * 4, cudaMemcpyDeviceToHost);
  for (const int32_t count : arrivals) {
    if (count != 0) fail("%s: arrivals are left at %d", kKernelNames[int(kernel)], count);
  }

  std::vector<float> rows(q.size());
  if (!is_operand) {
    cudaMemcpy(rows.data(), out.data(), out.bytes(), cudaMemcpyDeviceToHost);
    return rows;
  }
  std::vector<uint16_t> operand(out.bytes() / 2);
  cudaMemcpy(operand.data(), out.data(), out.bytes(), cudaMemcpyDeviceToHost);
  for (int32_t t = 0; t < tokens; ++t) {
    for (int32_t c = 0; c < round_up(width, kBlockCols); ++c) {
      const float value = half_value(kv.dtype, operand[operand_element(t, c, round_up(tokens, 8))]);
      if (c < width) {
        rows[size_t(t) * width + c] = value;
      } else if (!(value == 0)) {
        fail("%s: column %d of an operand is %g, not 0", kKernelNames[int(kernel)], c, value);
        return rows;
      }
    }
  }
  return rows;
}

void compare(const Setup& setup, Kernel kernel, const std::vector<float>& actual,
             const std::vector<double>& expected) {
  double error = 0, norm = 0, worst = 0;
  size_t wrong = 0, first_wrong = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(actual[i] - expected[i]);
    if (!(difference < 1e30)) {
      if (wrong++ == 0) first_wrong = i;
      continue;
    }
    error += difference * difference;
    norm += expected[i] * expected[i];
    worst = std::max(worst, difference);
  }
  const double bound = kernel == Kernel::kExact         ? 1e-5
                       : setup.kv.dtype == DType::kBF16 ? 1e-2
                                                        : 2e-3;
  const double deviation = std::sqrt(norm / actual.size());
  if (wrong > 0 || !(std::sqrt(error / norm) <= bound) || !(worst <= 20 * bound * deviation)) {
    const size_t width = size_t(setup.num_heads) * setup.kv.head_dim;
    fail(
        "attention %s: error %.2g, worst %.2g deviations, %zu of %zu not finite (first: token %zu, "
        "column %zu)",
        describe(setup, kernel).c_str(), std::sqrt(error / norm), worst / deviation, wrong,
        actual.size(), first_wrong / width, first_wrong % width);
  }
}

/// The last query of each sequence, made with its whole batch and as a decode, has the same bits.
void compare_last(const Setup& setup, Kernel kernel, const std::vector<float>& together,
                  const std::vector<float>& decoded) {
  const size_t width = size_t(setup.num_heads) * setup.kv.head_dim;
  size_t end = 0, differ = 0;
  for (size_t s = 0; s < setup.sequences.size(); ++s) {
    end += setup.sequences[s].queries;
    for (size_t i = 0; i < width; ++i) {
      differ += std::memcmp(&together[(end - 1) * width + i], &decoded[s * width + i], 4) != 0;
    }
  }
  if (differ > 0) {
    fail("attention %s: %zu of %zu last results have other bits than the decode's",
         describe(setup, kernel).c_str(), differ, setup.sequences.size() * width);
  }
}

void check_setup(Stream& stream, const Options& options, const Setup& setup) {
  const Inputs inputs(setup);
  const std::vector<double> expected = inputs.expected(setup.sequences);
  if (!is_skipped(options, "exact")) {
    compare(setup, Kernel::kExact, run(stream, setup, setup.sequences, Kernel::kExact), expected);
  }
  if (setup.kv.dtype == DType::kF32 || !stream.has_tensor_cores()) return;
  if (is_skipped(options, "decode")) return;
  std::vector<Sequence> singles;
  for (const Sequence& s : setup.sequences) singles.push_back({s.context, 1});
  const std::vector<float> decoded = run(stream, setup, singles, Kernel::kDecodeAndSm80);
  for (const Kernel kernel : {Kernel::kDecodeAndSm80, Kernel::kDecodeAndSm90}) {
    if (kernel == Kernel::kDecodeAndSm90 && !stream.is_hopper()) continue;
    if (is_skipped(options, kKernelNames[int(kernel)])) continue;
    const std::vector<float> rows = run(stream, setup, setup.sequences, kernel);
    compare(setup, kernel, rows, expected);
    compare_last(setup, kernel, rows, decoded);
  }
}

}  // namespace

void check_attention(Stream& stream, const Options& options) {
  const bool reduced = options.reduced;
  const std::vector<Sequence> mixed = {{1, 1},   {17, 17},  {127, 1},   {128, 1},  {129, 129},
                                       {511, 3}, {512, 1},  {513, 1},   {600, 90}, {300, 300},
                                       {1, 1},   {1100, 1}, {1040, 20}, {33, 2},   {640, 129}};
  const std::vector<Sequence> few = {{1, 1}, {140, 1}, {150, 140}, {530, 1}, {530, 9}};
  struct Heads {
    int32_t heads, kv_heads;
  };
  int setups = 0;
  for (const int32_t head_dim : {64, 80, 96, 128, 256}) {
    for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
      for (const Heads heads : {Heads{2, 2}, Heads{8, 2}, Heads{7, 1}, Heads{20, 1}}) {
        // All combinations would take minutes: these meet every value of each.
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
          setup.out_is_operand = setups % 4 != 3;
          setup.sequences = reduced ? few : mixed;
          setup.seed = uint32_t(500 + 10 * setups++);
          check_setup(stream, options, setup);
        }
      }
    }
  }
  // So many chunks that a decoding CTA has several of a context, begun and ended anywhere.
  Setup many;
  many.kv = {2, 8, 128, 16, DType::kF16};
  many.num_heads = 16;
  many.window = 0;
  many.layer = 1;
  many.out_is_operand = true;
  for (int32_t i = 0; i < 60; ++i) many.sequences.push_back({500 + i * 23, 2});
  many.seed = 400;
  if (!reduced) {
    check_setup(stream, options, many);
    ++setups;
  }
  std::printf("attention: %d set-ups by every kernel\n", setups);
  std::fflush(stdout);
}

}  // namespace hearth::bench
