/**
 * From the tensors that a file names to the roles that the model gives them.
 *
 * @module
 */
import { FileDType } from "../ffi/dtypes.ts";
import {
  type DType,
  ModelError,
  type ModelSpec,
  type TensorEntry,
  type TensorRole,
} from "./spec.ts";

/** A tensor as a file names it. */
export interface NamedTensor {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
  readonly file: number;
  readonly offset: number;
  readonly bytes: number;
}

/** Names of one format and family. `{}` in a name stands for the layer. */
export interface TensorNames {
  /** Each must be there exactly once (in every layer, where layers own it). */
  readonly required: TensorPatterns;
  /** Biases that some models of the family have: in every layer or in none. */
  readonly optional: TensorPatterns;
  /** Tensors that files carry and nobody needs. */
  readonly ignored: readonly RegExp[];
}

/** Name patterns by role. */
export type TensorPatterns = Readonly<Partial<Record<TensorRole, string>>>;

/** Roles that no layer owns. */
const GLOBAL: ReadonlySet<TensorRole> = new Set([
  "token_embedding",
  "position_embedding",
  "project_in",
  "project_out",
  "final_norm_weight",
  "final_norm_bias",
  "lm_head",
]);

/**
 * The tensor table of a model: every named tensor with its role, layer and checked shape.
 *
 * @throws {ModelError} naming the tensor that is missing, doubled, unknown, of an unsupported type
 * or of a shape that contradicts the spec.
 */
export function tensorTable(
  source: string,
  spec: ModelSpec,
  names: TensorNames,
  tensors: readonly NamedTensor[],
): TensorEntry[] {
  const fail = (problem: string): never => {
    throw new ModelError(`Cannot open model ${source}: ${problem}`);
  };
  const places = tensorPlaces({ ...names.required, ...names.optional }, spec.numLayers);
  const found = new Map<string, TensorEntry>();
  for (const tensor of tensors) {
    if (names.ignored.some((pattern) => pattern.test(tensor.name))) continue;
    const place = places.get(tensor.name) ?? fail(`unknown tensor ${tensor.name}`);
    const slot = `${place.role} ${place.layer}`;
    if (found.has(slot)) {
      fail(`tensor ${tensor.name} comes twice (also as ${found.get(slot)?.name})`);
    }
    const dtype = isDType(tensor.type) ? tensor.type : fail(
      `tensor ${tensor.name} has type ${tensor.type}, which is not supported; ` +
        `supported: ${Object.keys(FileDType).join(", ")}`,
    );
    const shape = roleShape(place.role, spec);
    if (shape.length !== tensor.shape.length || shape.some((n, i) => n !== tensor.shape[i])) {
      fail(`tensor ${tensor.name} must have the shape [${shape}]: it has [${tensor.shape}]`);
    }
    found.set(slot, { ...tensor, dtype, role: place.role, layer: place.layer });
  }

  for (const [name, { role, layer }] of places) {
    if (found.has(`${role} ${layer}`)) continue;
    const absent = role in names.optional && !found.has(`${role} 0`);
    if (!absent) fail(`tensor ${name} is missing`);
  }
  return [...found.values()].map(({ name, role, layer, dtype, shape, file, offset, bytes }) => ({
    name,
    role,
    layer,
    dtype,
    shape,
    file,
    offset,
    bytes,
  }));
}

function isDType(type: string): type is DType {
  return Object.hasOwn(FileDType, type);
}

/** What every name of these patterns stands for. */
export function tensorPlaces(
  patterns: TensorPatterns,
  numLayers: number,
): Map<string, { readonly role: TensorRole; readonly layer: number }> {
  const places = new Map<string, { role: TensorRole; layer: number }>();
  for (const [role, pattern] of Object.entries(patterns) as [TensorRole, string][]) {
    const count = GLOBAL.has(role) ? 1 : numLayers;
    for (let layer = 0; layer < count; layer++) {
      places.set(pattern.replace("{}", `${layer}`), { role, layer });
    }
  }
  return places;
}

/** Shape of a role in a model, row-major. */
export function roleShape(role: TensorRole, spec: ModelSpec): readonly number[] {
  const { hiddenSize, embeddingSize, intermediateSize, vocabSize, headDim } = spec;
  const queries = spec.numHeads * headDim;
  const keys = spec.numKvHeads * headDim;
  switch (role) {
    case "token_embedding":
    case "lm_head":
      return [vocabSize, embeddingSize];
    case "position_embedding":
      return [spec.maxPosition + spec.positionOffset, hiddenSize];
    case "project_in":
      return [hiddenSize, embeddingSize];
    case "project_out":
      return [embeddingSize, hiddenSize];
    case "q_weight":
      return [queries, hiddenSize];
    case "k_weight":
    case "v_weight":
      return [keys, hiddenSize];
    case "o_weight":
      return [hiddenSize, queries];
    case "q_bias":
      return [queries];
    case "k_bias":
    case "v_bias":
      return [keys];
    case "q_norm_weight":
    case "k_norm_weight":
      return [headDim];
    case "gate_weight":
    case "up_weight":
      return [intermediateSize, hiddenSize];
    case "down_weight":
      return [hiddenSize, intermediateSize];
    case "gate_bias":
    case "up_bias":
      return [intermediateSize];
    case "final_norm_weight":
    case "final_norm_bias":
    case "attention_norm_weight":
    case "attention_norm_bias":
    case "mlp_norm_weight":
    case "mlp_norm_bias":
    case "o_bias":
    case "down_bias":
      return [hiddenSize];
  }
}
