// How a backend's kernels want weights and KV to lie.
#pragma once

#include "device.h"
#include "step.h"
#include "weight.h"

namespace hearth {

/// Any thread.
class Packer {
 public:
  virtual ~Packer() = default;

  /// Throws Error(HEARTH_UNSUPPORTED) for what no kernel takes.
  virtual WeightLayout layout(SourceFormat format, int32_t rows, int32_t cols) const = 0;
  /// Throws Error(HEARTH_UNSUPPORTED) where no kernel takes these two as one gated op.
  virtual void check_gated(const WeightLayout& gate, const WeightLayout& up) const = 0;

  /// Packs num_rows rows, from the first of a tile on, once `after` is done. source: rows as in the
  /// file, behind one another; tiles: where they go, whose missing rows become zeros. Both are
  /// device memory, nobody else's until the ticket is done. Every byte is a pure function of the
  /// arguments.
  virtual Ticket pack(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
                      std::byte* tiles, Ticket after) = 0;

  /// Fills packed tiles in device memory with random weights of a deviation of about
  /// 1 / sqrt(cols): for benchmarks of models that nobody has to download. The same seed gives the
  /// same weights.
  virtual Ticket randomize(const WeightLayout& layout, std::byte* tiles, int32_t num_tiles,
                           uint64_t seed) = 0;

  /// Where element (token, dim) of a K or V cell lies in it, counted in elements: lets tests read
  /// and write the KV cache by copies.
  virtual int32_t kv_element(const KvSpec& spec, bool is_value, int32_t token,
                             int32_t dim) const = 0;
};

}  // namespace hearth
