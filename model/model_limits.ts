/**
 * Sizes that no model of the supported families passes: a file that claims more is damaged. The
 * native library refuses them too (csrc/model/spec.cpp); refused here, the message names the file's
 * field.
 *
 * @module
 */
export const kMaxWidth = 1 << 20;
export const kMaxVocab = 1 << 22;
export const kMaxLayers = 1024;
export const kMaxHeads = 1024;
export const kMaxHeadDim = 256;
export const kMaxPosition = 1 << 24;
