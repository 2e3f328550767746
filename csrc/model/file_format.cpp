#include "file_format.h"

#include <cstring>

#include "../backend/half.h"
#include "../error.h"

namespace hearth {
namespace {

/// ggml's Q6_K: 256 values of 6 bits, each 16 with a scale of 8 bits, all with one of 16.
struct Q6KGroup {
  uint8_t low[128];  // 4 bits of each value: two in a byte, 64 values apart
  uint8_t high[64];  // the 2 bits above: four in a byte, 32 values apart
  int8_t scales[16];
  uint16_t scale;
};
constexpr int kQ6KValues = 256;

void decode(const Q6KGroup& group, uint16_t* halves) {
  const float scale = float_from_half(group.scale);
  for (int i = 0; i < kQ6KValues; ++i) {
    const int half = i / 128, place = i % 128;  // a group's halves lie behind one another
    const int low = group.low[half * 64 + place % 64] >> place / 64 * 4 & 15;
    const int high = group.high[half * 32 + place % 32] >> place / 32 * 2 & 3;
    // Exact: 13 bits times 11.
    halves[i] = half_from_float(scale * float(group.scales[i / 16] * ((high << 4 | low) - 32)));
  }
}

}  // namespace

bool is_file_format(uint32_t dtype) {
  return dtype <= HEARTH_DTYPE_Q4_1 || dtype == HEARTH_DTYPE_Q6_K;
}

int32_t group_cols(FileFormat format) {
  if (format == FileFormat::kQ6_K) return kQ6KValues;
  return is_quantized(packer_format(format)) ? 32 : 1;
}

size_t row_bytes(FileFormat format, int64_t cols) {
  if (format == FileFormat::kQ6_K) return size_t(cols) / kQ6KValues * sizeof(Q6KGroup);
  return row_bytes(packer_format(format), cols);
}

SourceFormat packer_format(FileFormat format) {
  return needs_decoding(format) ? SourceFormat::kF16 : SourceFormat(format);
}

bool needs_decoding(FileFormat format) { return format == FileFormat::kQ6_K; }

void decode_rows(FileFormat format, const std::byte* groups, size_t bytes, std::byte* values) {
  if (!needs_decoding(format)) throw Error(HEARTH_INTERNAL, "Cannot decode rows: they need none");
  Q6KGroup group;
  uint16_t halves[kQ6KValues];
  for (size_t at = 0; at < bytes; at += sizeof group, values += sizeof halves) {
    std::memcpy(&group, groups + at, sizeof group);
    decode(group, halves);
    std::memcpy(values, halves, sizeof halves);
  }
}

}  // namespace hearth
