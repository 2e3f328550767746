// Where the sums of q, K and V go when one kernel makes them, rotates them and fills the KV cache.
//
// DESIGN
//   Pairs     RoPE turns rows i and i + head_dim / 2 of a head together: a warp takes the two
//             strips that hold them, so that a thread has both sums.
//
//               head    | strip 0 | ... | strip n - 1 | strip n | ... | strip 2n - 1 |
//               pair 0      x                             x               n = head_dim / 32
//
//   Latency   Addresses, biases and slots are in registers before the kernel ahead has ended,
//             cosines and sines before the first product: nothing is waited for behind the last.
#pragma once

#include "linear.h"
#include "rope_kv.cuh"

namespace hearth::cuda {

/// The first strip of a pair; the other lies head_strips(spec) / 2 behind it.
__device__ __forceinline__ int32_t first_strip_of(const KvSpec& spec, int32_t pair) {
  const int32_t pairs = head_strips(spec) / 2;
  return pair / pairs * 2 * pairs + pair % pairs;
}

/// What a thread needs to rotate and store its sums: rows lane / 4 and 8 behind it of a pair's
/// strips, tokens lane % 4 * 2 and the next of every octet.
template <int kOctets>
class QkvRows {
 public:
  /// Before wait_for_previous(). first_token: of the warp.
  __device__ __forceinline__ void place(const LinearArgs& args, int output, int32_t pair,
                                        int32_t first_token, int lane) {
    const KvSpec& spec = args.qkv.kv.spec;
    const LinearOutput& from = args.outputs[output];
    const int32_t row = first_strip_of(spec, pair) * kStripRows + lane / 4;
    const int32_t head = row / spec.head_dim;
    const bool is_there = row < from.weight.rows;  // as a whole head
    dim_ = row - head * spec.head_dim;
    first_token_ = first_token + lane % 4 * 2;
    is_query_ = output == 0;
    turns_ = output < 2 && args.qkv.angles.half > 0;
    has_bias_ = from.bias != nullptr;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      bias_[i] = is_there && has_bias_ ? from.bias[row + i / 2 * spec.head_dim / 2 + i % 2 * 8] : 0;
    }
#pragma unroll
    for (int i = 0; i < kOctets * 2; ++i) {
      const int32_t t = token(i);
      to_[i] = nullptr;
      if (!is_there || t >= args.rows) continue;
      if (is_query_) {
        to_[i] = static_cast<float*>(from.out) + size_t(t) * from.weight.rows + row;
        continue;
      }
      const int32_t slot = args.qkv.kv_slots[t];
      if (slot < 0) continue;
      to_[i] = slot_cell(args.qkv.kv, args.qkv.layer, slot, output - 1, head) +
               slot_element(spec, slot, dim_) * sizeof(__half);
    }
  }

  /// Behind it: a kernel of the step makes the angles.
  __device__ __forceinline__ void load_angles(const LinearArgs& args) {
    const QkvTarget& qkv = args.qkv;
#pragma unroll
    for (int i = 0; i < kOctets * 2; ++i) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const size_t at = size_t(token(i)) * qkv.angles.half + dim_ + r * 8;
        const bool is_there = turns_ && to_[i] != nullptr;
        cosines_[i][r] = is_there ? qkv.angles.cos[at] : 0;
        sines_[i][r] = is_there ? qkv.angles.sin[at] : 0;
      }
    }
  }

  /// sums: of the first strip, of the last one its other.
  template <int kStrips>
  __device__ __forceinline__ void store(const LinearArgs& args,
                                        const float (&sums)[kStrips][kOctets][4]) const {
    const KvSpec& spec = args.qkv.kv.spec;
    // Eight dimensions on, and half a head, in elements.
    const int32_t eight = is_query_ ? 8 : kv_cell_element(spec, 0, 8);
    const int32_t half =
        is_query_ ? spec.head_dim / 2 : kv_cell_element(spec, 0, spec.head_dim / 2);
#pragma unroll
    for (int i = 0; i < kOctets * 2; ++i) {
      if (to_[i] == nullptr) continue;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float first = sums[0][i / 2][i % 2 + r * 2];
        float second = sums[kStrips - 1][i / 2][i % 2 + r * 2];
        if (has_bias_) {
          first = __fadd_rn(first, bias_[r]);
          second = __fadd_rn(second, bias_[r + 2]);
        }
        if (turns_) {
          const float cosine = cosines_[i][r], sine = sines_[i][r], before = first;
          first = rotated(before, second, cosine, sine, true);
          second = rotated(second, before, cosine, sine, false);
        }
        store_one(spec.dtype, to_[i], r * eight, first);
        store_one(spec.dtype, to_[i], r * eight + half, second);
      }
    }
  }

 private:
  __device__ __forceinline__ int32_t token(int i) const { return first_token_ + i / 2 * 8 + i % 2; }

  __device__ __forceinline__ void store_one(DType kv, void* to, int32_t element,
                                            float value) const {
    if (is_query_) {
      static_cast<float*>(to)[element] = value;
    } else if (kv == DType::kBF16) {
      static_cast<__nv_bfloat16*>(to)[element] = round_one<__nv_bfloat16>(value);
    } else {
      static_cast<__half*>(to)[element] = round_one<__half>(value);
    }
  }

  int32_t dim_, first_token_;
  bool is_query_, turns_, has_bias_;
  float bias_[4];          // of the first strip, then of the other
  void* to_[kOctets * 2];  // by token: for its first value; null: none
  float cosines_[kOctets * 2][2], sines_[kOctets * 2][2];  // by token and row
};

}  // namespace hearth::cuda
