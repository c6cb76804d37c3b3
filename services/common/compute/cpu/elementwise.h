// Norms, activations, rotation and quantisation: one pass over a row each.

#pragma once

#include "common/compute/cpu/kernels.h"
#include "common/compute/cpu/simd.h"

namespace compute::cpu::KAITO_LEVEL {

// The last n < 16 values of a row, zero behind them.
inline Vec LoadPart(const float* p, int64_t n) {
  float lanes[16] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return Load(lanes);
}

inline void StorePart(float* p, Vec a, int64_t n) {
  float lanes[16];
  Store(lanes, a);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

// out[i] = f(a[i], b[i])
template <typename F>
inline void Map(const float* a, const float* b, int64_t n, float* out, F f) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Store(out + i, f(Load(a + i), Load(b + i)));
  if (i < n) StorePart(out + i, f(LoadPart(a + i, n - i), LoadPart(b + i, n - i)), n - i);
}

inline void RmsNorm(const float* x, const float* weight, int64_t n, float epsilon, float* out) {
  Vec sums[4] = {Set(0), Set(0), Set(0), Set(0)};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const Vec v = Load(x + i);
    Vec& sum = sums[(i / 16) % 4];
    sum = Fma(v, v, sum);
  }
  if (i < n) {
    const Vec v = LoadPart(x + i, n - i);
    sums[0] = Fma(v, v, sums[0]);
  }
  const float sum = Sum(Add(Add(sums[0], sums[1]), Add(sums[2], sums[3])));
  const Vec scale = Set(1.0F / __builtin_sqrtf(sum / static_cast<float>(n) + epsilon));
  Map(x, weight, n, out, [&](Vec v, Vec w) { return Mul(w, Mul(v, scale)); });
}

inline void SwiGlu(const float* gate, const float* up, int64_t n, float* out) {
  Map(gate, up, n, out, [](Vec g, Vec u) {
    const Vec silu = Div(g, Add(Set(1.0F), Exp(Sub(Set(0), g))));
    return Mul(silu, u);
  });
}

inline void Rope(const float* x, const float* cosines, const float* sines, int half, float* out) {
  int i = 0;
  for (; i + 16 <= half; i += 16) {
    const Vec a = Load(x + i);
    const Vec b = Load(x + half + i);
    const Vec c = Load(cosines + i);
    const Vec s = Load(sines + i);
    Store(out + i, Sub(Mul(a, c), Mul(b, s)));
    Store(out + half + i, Add(Mul(a, s), Mul(b, c)));
  }
  for (; i < half; ++i) {
    const float a = x[i];
    const float b = x[half + i];
    const float products[4] = {a * cosines[i], b * sines[i], a * sines[i], b * cosines[i]};
    out[i] = products[0] - products[1];
    out[half + i] = products[2] + products[3];
  }
}

// One group of one token. Writes its words `width` apart.
inline void QuantizeGroup(const float* x, int width, int token, std::byte* record) {
  const Vec low = Load(x);
  const Vec high = Load(x + 16);
  const float max = MaxLane(Max(Abs(low), Abs(high)));
  const float inverse = max > 0 ? 127.0F / max : 0.0F;
  const Vec scaled_low = RoundEven(Mul(low, Set(inverse)));
  const Vec scaled_high = RoundEven(Mul(high, Set(inverse)));
  int8_t numbers[32];
  StoreI8(numbers, scaled_low);
  StoreI8(numbers + 16, scaled_high);
  for (int i = 0; i < 8; ++i) {
    std::memcpy(record + (i * width + token) * 4, numbers + 4 * i, 4);
  }
  const float sum = Sum(Add(scaled_low, scaled_high));  // Exact: whole numbers below 2^24.
  const float scale = max / 127.0F;
  const float scaled_sum = scale * sum;
  const int32_t offset = -128 * static_cast<int32_t>(sum);
  std::byte* const facts = record + 32 * width + 4 * token;
  std::memcpy(facts, &scale, 4);
  std::memcpy(facts + 4 * width, &scaled_sum, 4);
  std::memcpy(facts + 8 * width, &offset, 4);
}

inline void QuantizeTile(const float* x, int64_t stride, int64_t columns, const QuantizedRows& out,
                         int64_t tile) {
  const int64_t first = tile * out.width;
  const int64_t left = out.tokens - first;
  const int tokens = static_cast<int>(left < out.width ? left : out.width);
  const int64_t groups = columns / kGroup;
  for (int64_t g = 0; g < out.groups; ++g) {
    std::byte* const record = out.tile(tile) + g * out.record_bytes();
    if (g >= groups) {
      std::memset(record, 0, out.record_bytes());
      continue;
    }
    for (int t = 0; t < tokens; ++t) {
      QuantizeGroup(x + (first + t) * stride + g * kGroup, out.width, t, record);
    }
  }
}

}  // namespace compute::cpu::KAITO_LEVEL
