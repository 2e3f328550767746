#include "layout.h"

#include "../../error.h"

namespace hearth::cuda {

WeightLayout strip_layout(SourceFormat format, int32_t rows, int32_t cols) {
  if (is_quantized(format) && cols % 32 != 0) {
    throw Error(HEARTH_UNSUPPORTED,
                hearth::format("Cannot lay out weight: columns of a quantized weight must be a "
                               "multiple of 32: current value is %d",
                               cols));
  }
  const DType dtype = DType(format);
  WeightLayout layout;
  layout.id = 0x100 + uint32_t(dtype);
  layout.source = format;
  layout.dtype = dtype;
  layout.rows = rows;
  layout.cols = cols;
  layout.tile_rows = kStripRows;
  layout.tile_bytes = size_t(round_up(cols, kSlabCols)) / kSlabCols * slab_bytes(dtype);
  return layout;
}

}  // namespace hearth::cuda
