// What every instruction set level provides: the inner loops, without threads and checks.

#pragma once

#include <cstdint>

#include "common/compute/isa.h"
#include "common/compute/packed_matrix.h"
#include "common/compute/quantized_rows.h"

namespace compute::cpu {

// out[t, r] (+)= sum over k of x[t, k] * weights[r, k]
struct MatmulTask {
  PackedMatrix weights;
  const float* x = nullptr;  // For the float layouts.
  int64_t x_stride = 0;
  QuantizedRows quantized;  // For the integer layouts.
  int64_t tokens = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
  bool add = false;
};

inline constexpr int kAttentionRows = 12;   // Queries that share one reading of K and V.
inline constexpr int kAttentionSpan = 512;  // Keys between two rescalings: part of the result.
inline constexpr int kBlockTokens = 16;     // Of the KV cache.

// Up to kAttentionRows queries against one head of K and V.
struct AttentionTile {
  const float* queries = nullptr;  // [head_dim][kAttentionRows], scaled to powers of two.
  int rows = 0;
  int head_dim = 0;
  const int* positions = nullptr;  // Per row: the last key that it sees.
  const std::byte* kv = nullptr;   // Block 0 of this layer and head: K, then V.
  int64_t block_stride = 0;        // Bytes from one block to the next.
  const int32_t* block_table = nullptr;
  float* scores = nullptr;  // Scratch: [kAttentionRows][kAttentionSpan].
};

// What a span of keys gives, per row: a maximum, a sum and a weighted sum of V.
struct AttentionPartial {
  float* maximum = nullptr;  // [kAttentionRows]
  float* sum = nullptr;      // [kAttentionRows]
  float* values = nullptr;   // [kAttentionRows][head_dim]

  static int64_t FloatsFor(int64_t head_dim) { return kAttentionRows * (head_dim + 2); }
  static AttentionPartial At(float* memory) {
    return {memory, memory + kAttentionRows, memory + 2 * kAttentionRows};
  }
};

struct Kernels {
  // Panels [first, end) of a matrix in one layout.
  using Matmul = void (*)(const MatmulTask& task, int64_t first, int64_t end);
  Matmul matmul_f32;
  Matmul matmul_f16;
  Matmul matmul_bf16;
  Matmul matmul_int4;
  Matmul matmul_int8;

  // Tile `tile` of `out` from rows of float32.
  void (*quantize_tile)(const float* x, int64_t stride, int64_t columns, const QuantizedRows& out,
                        int64_t tile);

  void (*rms_norm)(const float* x, const float* weight, int64_t n, float epsilon, float* out);
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* out);

  // Turns the pairs (x[i], x[half + i]); out may be x.
  void (*rope)(const float* x, const float* cosines, const float* sines, int half, float* out);
  // One head of one token into its block: K goes dimension by dimension, V as a row.
  void (*store_kv_f16)(const float* k, const float* v, int head_dim, int slot, std::byte* block);
  void (*store_kv_f32)(const float* k, const float* v, int head_dim, int slot, std::byte* block);

  // Keys [first, end) of one span; first is a multiple of kAttentionSpan. Rows that see none of
  // them get numbers without meaning.
  using Attention = void (*)(const AttentionTile& tile, int first, int end, AttentionPartial out);
  Attention attention_f16;
  Attention attention_f32;
  // Row `row` of `total` takes in that of `part`.
  void (*attention_combine)(AttentionPartial total, AttentionPartial part, int row, int head_dim);
  // out[i] = values[i] / sum
  void (*attention_finish)(AttentionPartial total, int row, int head_dim, float* out);
};

namespace plain {
const Kernels& Table();
}
namespace avx2 {
const Kernels& Table();
}
namespace avx512 {
const Kernels& Table();
}

// A level that this CPU can run.
const Kernels& KernelsFor(Isa isa);

}  // namespace compute::cpu
