// Norms, activations, rotation and quantisation: one pass over a row each.

#pragma once

#include "common/compute/cpu/kernels.h"
#include "common/compute/cpu/simd.h"

namespace compute::cpu::KAITO_LEVEL {

constexpr float kRestSteps = 254;   // Of the left-overs of rounding, in one step of the scale.
constexpr int kGroupsAtOnce = 512;  // Whose maxima are kept; wider rows look twice.
// A group is kept to 16 bits where its squared maximum is above so many times the row's mean. On
// SmolLM2 that costs 3 % of prefill and takes the worst log-probability error from 0.63 to 0.28.
constexpr float kRefineAbove = 8;

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

// Whole numbers of one token into its words of a record, and -128 times their sum. Returns the sum.
inline float WriteNumbers(Vec low, Vec high, int width, int token, std::byte* words,
                          std::byte* offsets) {
  int8_t numbers[32];
  StoreI8(numbers, low);
  StoreI8(numbers + 16, high);
  for (int i = 0; i < 8; ++i) {
    std::memcpy(words + (i * width + token) * 4, numbers + 4 * i, 4);
  }
  const float sum = Sum(Add(low, high));  // Exact: whole numbers below 2^24.
  const int32_t offset = -128 * static_cast<int32_t>(sum);
  std::memcpy(offsets + 4 * token, &offset, 4);
  return sum;
}

// One group of one token. `refine`: keep what rounding leaves over too.
inline void QuantizeGroup(const float* x, float max, bool refine, int width, int token,
                          std::byte* record) {
  const Vec inverse = Set(max > 0 ? 127.0F / max : 0.0F);
  const float scale = max / 127.0F;
  const Vec low = RoundEven(Mul(Load(x), inverse));
  const Vec high = RoundEven(Mul(Load(x + 16), inverse));
  std::byte* const facts = record + 32 * width;
  std::byte* const rest = record + 44 * width;
  float scaled_sum = scale * WriteNumbers(low, high, width, token, record, facts + 8 * width);
  if (refine) {
    const Vec steps = Mul(inverse, Set(kRestSteps));
    const Vec rest_low = RoundEven(Mul(Fma(low, Set(-scale), Load(x)), steps));
    const Vec rest_high = RoundEven(Mul(Fma(high, Set(-scale), Load(x + 16)), steps));
    const float sum = WriteNumbers(rest_low, rest_high, width, token, rest, rest + 32 * width);
    scaled_sum += scale * (1 / kRestSteps) * sum;
    const int32_t flag = 1;
    std::memcpy(record + QuantizedRows::kTokenBytes * width, &flag, 4);
  } else {
    WriteNumbers(Set(0), Set(0), width, token, rest, rest + 32 * width);
  }
  std::memcpy(facts + 4 * token, &scale, 4);
  std::memcpy(facts + 4 * width + 4 * token, &scaled_sum, 4);
}

inline void QuantizeToken(const float* x, int64_t groups, const QuantizedRows& out, int token,
                          std::byte* records) {
  float maxima[kGroupsAtOnce];
  float squares = 0;
  for (int64_t g = 0; g < groups; ++g) {
    const float max = MaxLane(Max(Abs(Load(x + g * kGroup)), Abs(Load(x + g * kGroup + 16))));
    maxima[g % kGroupsAtOnce] = max;
    squares += max * max;
  }
  const float limit = kRefineAbove * squares / static_cast<float>(groups);
  for (int64_t g = 0; g < groups; ++g) {
    const float* const from = x + g * kGroup;
    const float max =
        groups <= kGroupsAtOnce ? maxima[g] : MaxLane(Max(Abs(Load(from)), Abs(Load(from + 16))));
    QuantizeGroup(from, max, max * max > limit, out.width, token, records + g * out.record_bytes());
  }
}

inline void QuantizeTile(const float* x, int64_t stride, int64_t columns, const QuantizedRows& out,
                         int64_t tile) {
  const int64_t first = tile * out.width;
  const int64_t left = out.tokens - first;
  const int tokens = static_cast<int>(left < out.width ? left : out.width);
  const int64_t groups = columns / kGroup;
  std::byte* const records = out.tile(tile);
  for (int64_t g = 0; g < out.groups; ++g) {
    std::byte* const record = records + g * out.record_bytes();
    if (g >= groups) std::memset(record, 0, out.record_bytes());
    const int32_t flag = 0;
    std::memcpy(record + QuantizedRows::kTokenBytes * out.width, &flag, 4);
  }
  for (int t = 0; t < tokens; ++t) {
    QuantizeToken(x + (first + t) * stride, groups, out, t, records);
  }
}

}  // namespace compute::cpu::KAITO_LEVEL
