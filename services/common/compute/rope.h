// Rotary positions, and the way of K and V into the cache.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/compute/context.h"
#include "common/compute/kv_cache.h"
#include "common/compute/tensor.h"

namespace compute {

struct RopeOptions {
  int head_dim = 0;
  float base = 10000.0F;
  float position_scale = 1.0F;          // Linear scaling.
  std::span<const float> pair_factors;  // Frequencies are divided by it; empty: all 1.
};

// Cosines and sines in float32 of every position and pair: angle = position * scale * base^(-2i /
// d) / factor, computed in double.
class RopeTable {
 public:
  RopeTable() = default;
  RopeTable(const RopeOptions& options, int positions);

  int positions() const { return positions_; }
  int half() const { return half_; }
  const float* cosines(int position) const { return values_.data() + Index(position); }
  const float* sines(int position) const { return values_.data() + Index(position) + half_; }

 private:
  size_t Index(int position) const { return static_cast<size_t>(position) * 2 * half_; }

  int positions_ = 0;
  int half_ = 0;
  std::vector<float> values_;
};

struct RopeAndStoreArgs {
  Tensor q;                            // [tokens, heads * head_dim]; turned in place.
  Tensor k;                            // [tokens, kv_heads * head_dim]; turned in place.
  Tensor v;                            // [tokens, kv_heads * head_dim]
  std::span<const int32_t> positions;  // Per token, in the table.
  std::span<const int32_t> blocks;     // Per token: the block that it goes to, at position % 16.
  const RopeTable* table = nullptr;
  KvCache* cache = nullptr;
  int layer = 0;
};

// Pairs are (i, i + head_dim / 2). Turns q and k, writes k and v into the cache, rounded to its
// type and kept finite.
void RopeAndStore(const Context& context, const RopeAndStoreArgs& args);

}  // namespace compute
