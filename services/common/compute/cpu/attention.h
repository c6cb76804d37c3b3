// Queries against the paged cache: one head of K and V, read once for a tile of queries.
//
// Per row the order is fixed: scores of a span of 512 keys as even plus odd dimensions, one maximum
// and one sum for the span, then even plus odd keys of V; spans are joined in order. A key that a
// row must not see counts as exactly zero, so that the other rows of a tile leave no trace.

#pragma once

#include "common/compute/cpu/elementwise.h"
#include "common/compute/cpu/kernels.h"
#include "common/compute/cpu/simd.h"

namespace compute::cpu::KAITO_LEVEL {

struct F16Cache {
  using Number = uint16_t;
  static constexpr float kMax = 65504.0F;
  static Vec Read(const Number* p) { return LoadF16(p); }
  static void Write(Number* p, Vec a) { StoreF16(p, a); }
};
struct F32Cache {
  using Number = float;
  static constexpr float kMax = 3.0e38F;
  static Vec Read(const Number* p) { return Load(p); }
  static void Write(Number* p, Vec a) { Store(p, a); }
};

// Finite whatever comes in: a block is read by its next owner before it is full.
template <typename Cache>
inline Vec Finite(Vec a) {
  return Min(Max(a, Set(-Cache::kMax)), Set(Cache::kMax));
}

template <typename Cache>
void StoreKv(const float* k, const float* v, int head_dim, int slot, std::byte* block) {
  using Number = typename Cache::Number;
  auto* const keys = reinterpret_cast<Number*>(block);
  Number* const values = keys + head_dim * kBlockTokens + slot * head_dim;
  for (int d = 0; d < head_dim; d += 16) {
    Number column[16];
    Cache::Write(column, Finite<Cache>(Load(k + d)));
    for (int i = 0; i < 16; ++i) keys[(d + i) * kBlockTokens + slot] = column[i];
    Cache::Write(values + d, Finite<Cache>(Load(v + d)));
  }
}

// 1 in lanes 0 … n - 1, 0 in the others.
inline Vec FirstLanes(int n) {
  static constexpr float kOnes[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  return Load(kOnes + 16 - (n < 0 ? 0 : n > 16 ? 16 : n));
}

template <typename Cache, int kRows>
inline void ScoreBlock(const AttentionTile& tile, const std::byte* block, float* scores) {
  const auto* const keys = reinterpret_cast<const typename Cache::Number*>(block);
  Vec even[kRows];
  Vec odd[kRows];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) even[r] = odd[r] = Set(0);
  for (int d = 0; d < tile.head_dim; d += 2) {
    const float* const q = tile.queries + d * kAttentionRows;
    const Vec k0 = Cache::Read(keys + d * kBlockTokens);
    const Vec k1 = Cache::Read(keys + (d + 1) * kBlockTokens);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) even[r] = Fma(Set(q[r]), k0, even[r]);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) odd[r] = Fma(Set(q[kAttentionRows + r]), k1, odd[r]);
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) Store(scores + r * kAttentionSpan, Add(even[r], odd[r]));
}

// Scores → weights of the keys that the row sees, with their maximum and sum.
inline void SoftmaxRow(float* scores, int keys, int visible, float& maximum, float& sum) {
  const Vec hidden = Set(-1e30F);
  Vec max = hidden;
  for (int i = 0; i < keys; i += 16) {
    const Vec seen = FirstLanes(visible - i);
    max = Max(max, Add(Mul(Load(scores + i), seen), Mul(Sub(Set(1), seen), hidden)));
  }
  maximum = MaxLane(max);
  Vec total = Set(0);
  for (int i = 0; i < keys; i += 16) {
    const Vec weight = Mul(Exp2(Sub(Load(scores + i), Set(maximum))), FirstLanes(visible - i));
    Store(scores + i, weight);
    total = Add(total, weight);
  }
  sum = Sum(total);
}

// Sixteen dimensions of the weighted sum of V, for kRows rows.
template <typename Cache, int kRows>
inline void WeighValues(const AttentionTile& tile, int first, int end, int d, float* const* out) {
  using Number = typename Cache::Number;
  Vec even[kRows];
  Vec odd[kRows];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) even[r] = odd[r] = Set(0);
  for (int key = first; key < end; key += kBlockTokens) {
    const std::byte* const block =
        tile.kv + tile.block_table[key / kBlockTokens] * tile.block_stride;
    const auto* v = reinterpret_cast<const Number*>(block) + tile.head_dim * kBlockTokens + d;
    const float* const weights = tile.scores + (key - first);
    const int count = end - key < kBlockTokens ? end - key : kBlockTokens;
    int i = 0;
    for (; i + 2 <= count; i += 2, v += 2 * tile.head_dim) {
      const Vec v0 = Cache::Read(v);
      const Vec v1 = Cache::Read(v + tile.head_dim);
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) {
        even[r] = Fma(Set(weights[r * kAttentionSpan + i]), v0, even[r]);
      }
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) {
        odd[r] = Fma(Set(weights[r * kAttentionSpan + i + 1]), v1, odd[r]);
      }
    }
    if (i < count) {
      const Vec v0 = Cache::Read(v);
      for (int r = 0; r < kRows; ++r) {
        even[r] = Fma(Set(weights[r * kAttentionSpan + i]), v0, even[r]);
      }
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) Store(out[r] + d, Add(even[r], odd[r]));
}

template <typename Cache, int kRows>
void AttentionSpanOfRows(const AttentionTile& tile, int first, int end, AttentionPartial out) {
  for (int key = first; key < end; key += kBlockTokens) {
    const std::byte* const block =
        tile.kv + tile.block_table[key / kBlockTokens] * tile.block_stride;
    ScoreBlock<Cache, kRows>(tile, block, tile.scores + (key - first));
  }
  float* values[kRows];
  for (int r = 0; r < kRows; ++r) {
    SoftmaxRow(tile.scores + r * kAttentionSpan, end - first, tile.positions[r] + 1 - first,
               out.maximum[r], out.sum[r]);
    values[r] = out.values + r * tile.head_dim;
  }
  for (int d = 0; d < tile.head_dim; d += 16) {
    WeighValues<Cache, kRows>(tile, first, end, d, values);
  }
}

template <typename Cache, int kRows = kAttentionRows>
void AttentionSpan(const AttentionTile& tile, int first, int end, AttentionPartial out) {
  if constexpr (kRows > 1) {
    if (tile.rows < kRows) return AttentionSpan<Cache, kRows - 1>(tile, first, end, out);
  }
  AttentionSpanOfRows<Cache, kRows>(tile, first, end, out);
}

inline void AttentionCombine(AttentionPartial total, AttentionPartial part, int row, int head_dim) {
  const float maximum =
      total.maximum[row] > part.maximum[row] ? total.maximum[row] : part.maximum[row];
  const Vec old_scale = Exp2(Set(total.maximum[row] - maximum));
  const Vec new_scale = Exp2(Set(part.maximum[row] - maximum));
  float lanes[16];
  Store(lanes, Fma(Set(total.sum[row]), old_scale, Mul(Set(part.sum[row]), new_scale)));
  total.sum[row] = lanes[0];
  total.maximum[row] = maximum;
  float* const values = total.values + row * head_dim;
  const float* const more = part.values + row * head_dim;
  for (int d = 0; d < head_dim; d += 16) {
    Store(values + d, Fma(Load(values + d), old_scale, Mul(Load(more + d), new_scale)));
  }
}

inline void AttentionFinish(AttentionPartial total, int row, int head_dim, float* out) {
  const Vec inverse = Set(1.0F / total.sum[row]);
  for (int d = 0; d < head_dim; d += 16) {
    Store(out + d, Mul(Load(total.values + row * head_dim + d), inverse));
  }
}

}  // namespace compute::cpu::KAITO_LEVEL
