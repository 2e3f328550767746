/**
 * The functions of `csrc/hearth_ops.h`: each op of a backend alone, for tests and micro-benchmarks.
 *
 * @module
 */
import { ComputeDType, WeightDType } from "./dtypes.ts";
import { FlatBuffer } from "./flat_buffer.ts";
import { bytesOf, defaultLibraryPath } from "./library.ts";
import {
  OpAttentionShape,
  OpContext as OpContextStruct,
  OpLinearShape,
  OpSampler,
  OpSampleRow,
  opSymbols,
} from "./op_symbols.ts";
import { ErrorBuffer } from "./status.ts";
import {
  Activation,
  DeviceKind,
  Isa,
  LogitBias,
  maxLogprobs,
  Norm,
  RopeStyle,
  TokenLogprob as TokenLogprobStruct,
} from "./structs.ts";
import type { TokenLogprob } from "./types.ts";

/** Where and how ops run. */
export interface OpContext {
  readonly device: "cpu" | "cuda";
  /** CPU only. */
  readonly isa: keyof typeof Isa;
  /** CUDA only: kernels for later ones, 80 for 8.0, are not chosen. 0: all. */
  readonly maxComputeCapability: number;
  /** CPU only. 0: the cores this process may use. */
  readonly numThreads: number;
  /** int8: CPU only; fp16: CUDA only, the tensor cores' 16-bit types. */
  readonly activationDtype: "fp32" | "int8" | "fp16";
  /** bf16: CUDA only. */
  readonly kvCacheDtype: "fp32" | "fp16" | "bf16";
  readonly blockSize: 16 | 32 | 64;
  /** Outputs of gateUp and attention pass through the form that only linear ops read. */
  readonly operandOutputs: boolean;
  /** How often the op runs; {@linkcode Ops.bestNs} tells how fast. */
  readonly repeats: number;
}

/** A norm of the input. */
export interface OpNorm {
  readonly kind: keyof typeof Norm;
  readonly eps: number;
  readonly weight: Float32Array<ArrayBuffer>;
  readonly bias?: Float32Array<ArrayBuffer> | undefined;
}

/** A weight as in a file of its dtype, `[rows, cols]`. */
export interface OpWeight {
  readonly dtype: keyof typeof WeightDType;
  readonly rows: number;
  readonly cols: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

type Floats = Float32Array<ArrayBuffer>;
type Ints = Int32Array<ArrayBuffer>;

/** Sizes of attention and its cache. */
export interface AttentionSizes {
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly numBlocks: number;
}

export interface QkvInput extends AttentionSizes {
  /** `[rows, hidden]` each. */
  readonly wq: OpWeight;
  readonly wk: OpWeight;
  readonly wv: OpWeight;
  /** Of q, k and v, behind one another. */
  readonly biases?: Floats | undefined;
  readonly norm?: OpNorm | undefined;
  /** Weights of q's, then of k's. */
  readonly headNorms?: { readonly eps: number; readonly weights: Floats } | undefined;
  readonly invFreq: Floats;
  readonly ropeStyle: keyof typeof RopeStyle;
  readonly ropeScale: number;
  readonly positions: Ints;
  readonly slots: Ints;
  readonly x: Floats;
}

export interface AttentionInput extends AttentionSizes {
  readonly window: number;
  readonly scale: number;
  readonly queryStart: Ints;
  readonly contextLens: Ints;
  readonly blockTable: Ints;
  readonly maxBlocks: number;
  /** Pairs (from, to) of blocks. */
  readonly copies?: Ints | undefined;
  readonly q: Floats;
  readonly k: Floats;
  readonly v: Floats;
}

/** How a sequence samples; a field that is left out is off. */
export interface SamplerInput {
  readonly temperature?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly topK?: number;
  readonly repetitionPenalty?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly minTokens?: number;
  readonly sequence?: number;
  readonly seed?: bigint;
  readonly stopIds?: readonly number[];
  readonly logitBias?: ReadonlyMap<number, number>;
  readonly badWords?: readonly (readonly number[])[];
  readonly prompt?: readonly number[];
  readonly output?: readonly number[];
}

export interface SampleRowInput {
  readonly logitsRow?: number;
  readonly sampler?: number;
  /** The token whose logprob is wanted; left out: one is drawn. */
  readonly target?: number;
  readonly outputIndex?: number;
  readonly numLogprobs?: number;
}

export interface Sampled extends TokenLogprob {
  readonly top: readonly TokenLogprob[];
}

/** Each method runs one op and leaves its time in {@linkcode bestNs} and {@linkcode medianNs}. */
export class Ops {
  /** Nanoseconds of the fastest run of the last op. */
  bestNs = 0;
  /** Nanoseconds of the median run of the last op. */
  medianNs = 0;
  readonly context: OpContext;
  readonly #library: Deno.DynamicLibrary<typeof opSymbols>;
  readonly #error = new ErrorBuffer();

  constructor(context: Partial<OpContext> = {}, path: string = defaultLibraryPath()) {
    this.context = {
      device: "cpu",
      isa: "auto",
      maxComputeCapability: 0,
      numThreads: 1,
      activationDtype: "fp32",
      kvCacheDtype: "fp32",
      blockSize: 16,
      operandOutputs: false,
      repeats: 1,
      ...context,
    };
    this.#library = Deno.dlopen(path, opSymbols);
  }

  [Symbol.dispose](): void {
    this.#library.close();
  }

  /** `weight[ids[t]] (+ positions.weight[positions.ids[t] + positions.offset])` */
  embed(
    weight: OpWeight,
    ids: Ints,
    out: Floats,
    positions?: { readonly weight: OpWeight; readonly offset: number; readonly ids: Ints },
  ): void {
    this.#run((context, error) =>
      this.#library.symbols.hearth_op_embed(
        context,
        linearShape(weight, ids.length),
        weight.bytes,
        positions?.weight.bytes ?? null,
        positions?.weight.rows ?? 0,
        positions?.offset ?? 0,
        ids,
        positions?.ids ?? null,
        out,
        error,
      )
    );
  }

  /** Rows of `x` (`[tokens, cols]`) by index, ascending. */
  gather(cols: number, indices: Ints, x: Floats, out: Floats): void {
    const shape = linearShape({ dtype: "F32", rows: indices.length, cols }, x.length / cols);
    this.#run((context, error) =>
      this.#library.symbols.hearth_op_gather(context, shape, indices, x, out, error)
    );
  }

  /** `norm(x)`, `[tokens, norm.weight.length]` */
  norm(norm: OpNorm, x: Floats, out: Floats): void {
    const cols = norm.weight.length;
    const shape = linearShape({ dtype: "F32", rows: cols, cols }, x.length / cols, { norm });
    this.#run((context, error) =>
      this.#library.symbols.hearth_op_norm(
        context,
        shape,
        norm.weight,
        norm.bias ?? null,
        x,
        out,
        error,
      )
    );
  }

  /** `norm(x) weightᵀ + bias + residual` */
  linear(
    weight: OpWeight,
    x: Floats,
    out: Floats,
    options: {
      readonly norm?: OpNorm | undefined;
      readonly bias?: Floats | undefined;
      readonly residual?: Floats | undefined;
    } = {},
  ): void {
    const { norm, bias, residual } = options;
    this.#run((context, error) =>
      this.#library.symbols.hearth_op_linear(
        context,
        linearShape(weight, x.length / weight.cols, { norm }),
        weight.bytes,
        bias ?? null,
        norm?.weight ?? null,
        norm?.bias ?? null,
        x,
        residual ?? null,
        out,
        error,
      )
    );
  }

  /** `act(norm(x) gateᵀ + gateBias) * (norm(x) upᵀ + upBias)`; without a gate `act(up)`. */
  gateUp(
    up: OpWeight,
    x: Floats,
    out: Floats,
    options: {
      readonly activation: keyof typeof Activation;
      readonly gate?: OpWeight | undefined;
      readonly gateBias?: Floats | undefined;
      readonly upBias?: Floats | undefined;
      readonly norm?: OpNorm | undefined;
    },
  ): void {
    const { gate, norm, activation } = options;
    const gated = gate !== undefined;
    this.#run((context, error) =>
      this.#library.symbols.hearth_op_gate_up(
        context,
        linearShape(up, x.length / up.cols, { norm, activation, gated }),
        gate?.bytes ?? null,
        options.gateBias ?? null,
        up.bytes,
        options.upBias ?? null,
        norm?.weight ?? null,
        norm?.bias ?? null,
        x,
        out,
        error,
      )
    );
  }

  /** Fills q, and the slots of k and v (`[numBlocks * blockSize, numKvHeads * headDim]`). */
  qkv(input: QkvInput, q: Floats, k: Floats, v: Floats): void {
    const { norm, headNorms } = input;
    const shape = OpAttentionShape.encode({
      ...attentionSizes(input, input.positions.length),
      hidden_size: input.wq.cols,
      weight_dtype: WeightDType[input.wq.dtype],
      norm_kind: norm === undefined ? 0 : Norm[norm.kind],
      norm_eps: norm?.eps ?? 0,
      head_norm_kind: headNorms === undefined ? 0 : Norm.rms,
      head_norm_eps: headNorms?.eps ?? 0,
      rope_dim: input.invFreq.length * 2,
      rope_style: RopeStyle[input.ropeStyle],
      rope_scale: input.ropeScale,
    });
    this.#run((context, error) =>
      this.#library.symbols.hearth_op_qkv(
        context,
        shape,
        input.wq.bytes,
        input.wk.bytes,
        input.wv.bytes,
        input.biases ?? null,
        norm?.weight ?? null,
        norm?.bias ?? null,
        headNorms?.weights ?? null,
        input.invFreq,
        input.positions,
        input.slots,
        input.x,
        q,
        k,
        v,
        error,
      )
    );
  }

  /** `softmax(scale q · K) V`, `[tokens, numHeads * headDim]` */
  attention(input: AttentionInput, out: Floats): void {
    const shape = OpAttentionShape.encode({
      ...attentionSizes(input, input.queryStart.at(-1)!),
      num_sequences: input.contextLens.length,
      max_blocks: input.maxBlocks,
      window: input.window,
      scale: input.scale,
    });
    const copies = input.copies ?? null;
    this.#run((context, error) =>
      this.#library.symbols.hearth_op_attention(
        context,
        shape,
        input.queryStart,
        input.contextLens,
        input.blockTable,
        copies,
        copies === null ? 0 : copies.length / 2,
        input.q,
        input.k,
        input.v,
        out,
        error,
      )
    );
  }

  /** Draws a token, or tells the logprob of one, for each row. */
  sample(
    logits: Floats,
    vocabSize: number,
    samplers: readonly SamplerInput[],
    rows: readonly SampleRowInput[],
  ): Sampled[] {
    const flat = new FlatBuffer();
    const samplerStructs = OpSampler.encodeAll(samplers.map((it) => encodeSampler(it, flat)));
    const rowStructs = OpSampleRow.encodeAll(rows.map((row) => ({
      logits_row: row.logitsRow ?? 0,
      sampler: row.sampler ?? 0,
      target: row.target ?? -1,
      output_index: row.outputIndex ?? 0,
      num_logprobs: row.numLogprobs ?? -1,
    })));
    const flatBytes = flat.toBytes();
    const results = TokenLogprobStruct.allocate(rows.length);
    const top = TokenLogprobStruct.allocate(rows.length * maxLogprobs);
    this.#run((context, error) =>
      this.#library.symbols.hearth_op_sample(
        context,
        logits,
        logits.length / vocabSize,
        vocabSize,
        samplerStructs,
        samplers.length,
        rowStructs,
        rows.length,
        flatBytes,
        flatBytes.length,
        bytesOf(results),
        bytesOf(top),
        error,
      )
    );
    return rows.map(({ numLogprobs = -1 }, i) => ({
      ...readLogprob(results, i),
      top: Array.from(
        { length: Math.min(Math.max(numLogprobs, 0), vocabSize) },
        (_, j) => readLogprob(top, i * maxLogprobs + j),
      ),
    }));
  }

  /** Bytes a second that the threads read together from a buffer of `bytes`. */
  readBandwidth(bytes: number): number {
    const result = new Float64Array(1);
    this.#run((context, error) =>
      this.#library.symbols.hearth_op_read_bandwidth(
        context,
        BigInt(bytes),
        result,
        error,
      )
    );
    return result[0]!;
  }

  /** Operations a second (2 a multiply-add) of the int8 instruction of linear ops. */
  int8Peak(): number {
    const result = new Float64Array(1);
    this.#run((context, error) =>
      this.#library.symbols.hearth_op_int8_peak(context, result, error)
    );
    return result[0]!;
  }

  /**
   * Loses the CUDA device to this process, for tests of what is said then.
   *
   * @throws {EngineError} always: `device_lost`, `unsupported` on the CPU
   */
  trap(): never {
    this.#run((context, error) => this.#library.symbols.hearth_op_trap(context, error));
    throw new Error("hearth_op_trap returned HEARTH_OK");
  }

  #run(call: (context: Uint8Array<ArrayBuffer>, error: Uint8Array<ArrayBuffer>) => number): void {
    const { device, isa, maxComputeCapability } = this.context;
    const context = OpContextStruct.encode({
      device_kind: DeviceKind[device],
      device_index: 0,
      isa: device === "cuda" ? maxComputeCapability : Isa[isa],
      num_threads: this.context.numThreads,
      activation_dtype: ComputeDType[this.context.activationDtype],
      kv_cache_dtype: ComputeDType[this.context.kvCacheDtype],
      block_size: this.context.blockSize,
      repeats: this.context.repeats,
      operand_outputs: Number(this.context.operandOutputs),
      best_ns: 0n,
      median_ns: 0n,
    });
    this.#error.unwrap(call(context, this.#error.bytes));
    const { best_ns, median_ns } = OpContextStruct.decode(new DataView(context.buffer));
    this.bestNs = Number(best_ns);
    this.medianNs = Number(median_ns);
  }
}

function linearShape(
  weight: Omit<OpWeight, "bytes">,
  numTokens: number,
  options: {
    readonly norm?: OpNorm | undefined;
    readonly activation?: keyof typeof Activation;
    readonly gated?: boolean;
  } = {},
): Uint8Array<ArrayBuffer> {
  const { norm, activation, gated } = options;
  return OpLinearShape.encode({
    weight_dtype: WeightDType[weight.dtype],
    rows: weight.rows,
    cols: weight.cols,
    num_tokens: numTokens,
    norm_kind: norm === undefined ? 0 : Norm[norm.kind],
    norm_eps: norm?.eps ?? 0,
    activation: activation === undefined ? 0 : Activation[activation],
    gated: gated ? 1 : 0,
    reserved: 0,
  });
}

function attentionSizes(sizes: AttentionSizes, numTokens: number) {
  return {
    num_tokens: numTokens,
    num_sequences: 0,
    num_blocks: sizes.numBlocks,
    max_blocks: 0,
    num_heads: sizes.numHeads,
    num_kv_heads: sizes.numKvHeads,
    head_dim: sizes.headDim,
    window: 0,
    scale: 1,
    hidden_size: 0,
    weight_dtype: 0,
    norm_kind: 0,
    norm_eps: 0,
    head_norm_kind: 0,
    head_norm_eps: 0,
    rope_dim: 0,
    rope_style: RopeStyle.half,
    rope_scale: 1,
    reserved: 0,
  };
}

function encodeSampler(input: SamplerInput, flat: FlatBuffer) {
  const ids = (values: readonly number[] = []) => ({
    offset: flat.append(Uint32Array.from(values)),
    count: values.length,
  });
  const bias = [...input.logitBias ?? []].map(([token, bias]) => ({ token, bias }));
  const stopIds = ids(input.stopIds);
  const badWords = ids((input.badWords ?? []).flatMap((word) => [word.length, ...word]));
  const prompt = ids(input.prompt);
  const output = ids(input.output);
  return {
    temperature: input.temperature ?? 0,
    top_p: input.topP ?? 1,
    min_p: input.minP ?? 0,
    top_k: input.topK ?? 0,
    repetition_penalty: input.repetitionPenalty ?? 1,
    presence_penalty: input.presencePenalty ?? 0,
    frequency_penalty: input.frequencyPenalty ?? 0,
    min_tokens: input.minTokens ?? 0,
    sequence: input.sequence ?? 0,
    seed: input.seed ?? 0n,
    stop_ids_offset: stopIds.offset,
    stop_ids_count: stopIds.count,
    logit_bias_offset: flat.append(LogitBias.encodeAll(bias)),
    logit_bias_count: bias.length,
    bad_words_offset: badWords.offset,
    bad_words_count: badWords.count,
    prompt_offset: prompt.offset,
    prompt_count: prompt.count,
    output_offset: output.offset,
    output_count: output.count,
  };
}

function readLogprob(view: DataView, index: number): TokenLogprob {
  return TokenLogprobStruct.decode(view, index * TokenLogprobStruct.byteLength);
}
