// Which kernel decoding attention takes, by device.
#include "attention_decode.cuh"

namespace hearth::cuda {

void attention_decode(Stream& stream, const AttentionArgs& args) {
  if (args.step.max_decodes == 0) return;
  stream.is_hopper() ? attention_decode_sm90(stream, args) : attention_decode_sm80(stream, args);
}

}  // namespace hearth::cuda
