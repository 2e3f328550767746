/**
 * Sizes that no model of the supported families passes: a file that claims more is damaged. The
 * native library refuses them too (csrc/model/spec.cpp); refused here, the message names the file's
 * field.
 *
 * @module
 */
export const MAX_WIDTH = 1 << 20;
export const MAX_VOCAB = 1 << 22;
export const MAX_LAYERS = 1024;
export const MAX_HEADS = 1024;
export const MAX_HEAD_DIM = 256;
export const MAX_POSITION = 1 << 24;
