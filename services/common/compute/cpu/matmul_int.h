// Integer weights times int8 activations, exact inside a group of 32, float32 across groups.
//
// For every output: acc = fma(dot(group), weight_scale * x_scale, acc), and for weights with a
// minimum then acc = fma(minimum, x_scale * x_sum, acc), groups in order. So the result depends
// neither on the level nor on how many tokens are computed together.

#pragma once

#include <type_traits>

#include "common/compute/cpu/elementwise.h"
#include "common/compute/cpu/kernels.h"
#include "common/compute/cpu/simd.h"

namespace compute::cpu::KAITO_LEVEL {

constexpr int kInt4GroupBytes = 320;
constexpr int kInt8PairBytes = 1088;
constexpr int kPrefetchBytes = 2560;  // Ahead of the stream of weights.

// The numbers of one group of some tokens of a tile; those of the tile's first token are at `p`.
template <int kWidth>
struct Record {
  static constexpr int kBytes = QuantizedRows::kTokenBytes * kWidth + QuantizedRows::kFlagBytes;
  static constexpr int kOffsets = 40 * kWidth;      // Where the offsets lie: of the numbers,
  static constexpr int kRestOffsets = 32 * kWidth;  // and of the left-overs, seen from these.

  const std::byte* p;

  // Word `i` (numbers 4i to 4i + 3) of token t.
  int32_t word(int i, int t) const { return At<int32_t>((i * kWidth + t) * 4); }
  float scale(int t) const { return At<float>(32 * kWidth + 4 * t); }
  float scaled_sum(int t) const { return At<float>(36 * kWidth + 4 * t); }
  template <int kAt>
  int32_t offset(int t) const {
    return At<int32_t>(kAt + 4 * t);
  }
  Record rest() const { return {p + 44 * kWidth}; }

 private:
  template <typename T>
  T At(int at) const {
    T value;
    std::memcpy(&value, p + at, sizeof(value));
    return value;
  }
};

// Whether any token of the tile has left-overs in this group.
template <int kWidth>
inline bool HasRest(const std::byte* record) {
  int32_t flag;
  std::memcpy(&flag, record + QuantizedRows::kTokenBytes * kWidth, sizeof(flag));
  return flag != 0;
}

template <int kLines>
inline void Prefetch(const std::byte* weights) {
  for (int i = 0; i < kLines; ++i) __builtin_prefetch(weights + kPrefetchBytes + 64 * i, 0, 3);
}

#if defined(__AVX512F__)

inline __m512i Line(const std::byte* p) { return _mm512_loadu_si512(p); }

// dots[t] = sum over the group's columns, as float.
template <int kWidth, int kTokens>
inline void DotInt4(const std::byte* lines, Record<kWidth> x, Vec (&dots)[kTokens]) {
  const __m512i low_bits = _mm512_set1_epi8(15);
  __m512i sums[kTokens];
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i line = Line(lines + 64 * i);
    const __m512i low = _mm512_and_si512(line, low_bits);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(line, 4), low_bits);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) {
      sums[t] = _mm512_dpbusd_epi32(sums[t], low, _mm512_set1_epi32(x.word(2 * i, t)));
    }
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) {
      sums[t] = _mm512_dpbusd_epi32(sums[t], high, _mm512_set1_epi32(x.word(2 * i + 1, t)));
    }
  }
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) dots[t] = {_mm512_cvtepi32_ps(sums[t])};
}

template <int kWidth, int kTokens, int kOffsets>
inline void DotInt8(const std::byte* lines, Record<kWidth> x, Vec (&dots)[kTokens]) {
  __m512i sums[kTokens];
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_set1_epi32(x.template offset<kOffsets>(t));
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const __m512i line = Line(lines + 64 * i);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) {
      sums[t] = _mm512_dpbusd_epi32(sums[t], line, _mm512_set1_epi32(x.word(i, t)));
    }
  }
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) dots[t] = {_mm512_cvtepi32_ps(sums[t])};
}

constexpr int kTokensAtOnce = 12;

#elif defined(__AVX2__)

inline __m256i HalfLine(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

template <int kWidth, int kTokens>
inline void DotInt4(const std::byte* lines, Record<kWidth> x, Vec (&dots)[kTokens]) {
  const __m256i low_bits = _mm256_set1_epi8(15);
  for (int half = 0; half < 2; ++half) {
    // 16-bit sums of pairs: at most 8 * 2 * 15 * 127, which fits.
    __m256i pairs[kTokens];
    for (int t = 0; t < kTokens; ++t) pairs[t] = _mm256_setzero_si256();
    for (int i = 0; i < 4; ++i) {
      const __m256i line = HalfLine(lines + 64 * i + 32 * half);
      const __m256i low = _mm256_and_si256(line, low_bits);
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(line, 4), low_bits);
      for (int t = 0; t < kTokens; ++t) {
        const __m256i a = _mm256_maddubs_epi16(low, _mm256_set1_epi32(x.word(2 * i, t)));
        const __m256i b = _mm256_maddubs_epi16(high, _mm256_set1_epi32(x.word(2 * i + 1, t)));
        pairs[t] = _mm256_add_epi16(pairs[t], _mm256_add_epi16(a, b));
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      const __m256i sums = _mm256_madd_epi16(pairs[t], _mm256_set1_epi16(1));
      (half == 0 ? dots[t].a : dots[t].b) = _mm256_cvtepi32_ps(sums);
    }
  }
}

template <int kWidth, int kTokens, int kOffsets>
inline void DotInt8(const std::byte* lines, Record<kWidth> x, Vec (&dots)[kTokens]) {
  const __m256i bias = _mm256_set1_epi8(-128);
  for (int half = 0; half < 2; ++half) {
    __m256i sums[kTokens];
    for (int t = 0; t < kTokens; ++t) sums[t] = _mm256_setzero_si256();
    for (int i = 0; i < 8; ++i) {
      // |w| times x with the sign of w: a pair is at most 2 * 128 * 127, below 2^15.
      const __m256i w = _mm256_xor_si256(HalfLine(lines + 64 * i + 32 * half), bias);
      const __m256i magnitude = _mm256_abs_epi8(w);
      for (int t = 0; t < kTokens; ++t) {
        const __m256i signed_x = _mm256_sign_epi8(_mm256_set1_epi32(x.word(i, t)), w);
        const __m256i pairs = _mm256_maddubs_epi16(magnitude, signed_x);
        sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      (half == 0 ? dots[t].a : dots[t].b) = _mm256_cvtepi32_ps(sums[t]);
    }
  }
}

constexpr int kTokensAtOnce = 4;

#else

// Lane r of line `i`, number j: `number(byte)` decodes it.
template <int kWidth>
inline int32_t DotWord(const std::byte* bytes, int shift, int mask, int bias, Record<kWidth> x,
                       int word, int t) {
  const int32_t packed = x.word(word, t);
  int32_t sum = 0;
  for (int j = 0; j < 4; ++j) {
    const int w = ((std::to_integer<int>(bytes[j]) >> shift) & mask) - bias;
    sum += w * static_cast<int8_t>(packed >> (8 * j));
  }
  return sum;
}

template <int kWidth, int kTokens>
inline void DotInt4(const std::byte* lines, Record<kWidth> x, Vec (&dots)[kTokens]) {
  for (int t = 0; t < kTokens; ++t) {
    for (int lane = 0; lane < 16; ++lane) {
      int32_t sum = 0;
      for (int i = 0; i < 8; ++i) {
        const std::byte* const bytes = lines + 64 * (i / 2) + 4 * lane;
        sum += DotWord(bytes, i % 2 * 4, 15, 0, x, i, t);
      }
      dots[t].v[lane] = static_cast<float>(sum);
    }
  }
}

template <int kWidth, int kTokens, int kOffsets>
inline void DotInt8(const std::byte* lines, Record<kWidth> x, Vec (&dots)[kTokens]) {
  for (int t = 0; t < kTokens; ++t) {
    for (int lane = 0; lane < 16; ++lane) {
      int32_t sum = 0;
      for (int i = 0; i < 8; ++i) sum += DotWord(lines + 64 * i + 4 * lane, 0, 255, 128, x, i, t);
      dots[t].v[lane] = static_cast<float>(sum);
    }
  }
}

constexpr int kTokensAtOnce = 1;

#endif

inline Vec Scales(const std::byte* p) { return LoadF16(reinterpret_cast<const uint16_t*>(p)); }

// acc += dots * weight scale * token scale, also for the left-overs of rounding (`step` of the
// scale).
template <int kWidth, int kTokens>
inline void AddScaled(const Vec (&dots)[kTokens], Vec scale, Record<kWidth> x,
                      Vec (&acc)[kTokens]) {
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) acc[t] = Fma(dots[t], Mul(scale, Set(x.scale(t))), acc[t]);
}

struct Int4 {
  // Acc of `kTokens` tokens, the first of which is number `first` of the tile at `x`.
  template <int kWidth, int kTokens>
  static void Panel(const std::byte* weights, const std::byte* x, int first, int64_t groups,
                    Vec (&acc)[kTokens]) {
    for (int64_t g = 0; g < groups; ++g, weights += kInt4GroupBytes, x += Record<kWidth>::kBytes) {
      const Record<kWidth> record{x + 4 * first};
      Prefetch<5>(weights);
      Vec dots[kTokens];
      DotInt4<kWidth, kTokens>(weights, record, dots);
      const Vec scale = Scales(weights + 256);
      const Vec minimum = Scales(weights + 288);
      AddScaled(dots, scale, record, acc);
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) {
        acc[t] = Fma(minimum, Set(record.scaled_sum(t)), acc[t]);
      }
      if (HasRest<kWidth>(x)) [[unlikely]] {
        DotInt4<kWidth, kTokens>(weights, record.rest(), dots);
        AddScaled(dots, Mul(scale, Set(1 / kRestSteps)), record, acc);
      }
    }
  }
};

struct Int8 {
  template <int kWidth, int kTokens>
  static void Panel(const std::byte* weights, const std::byte* x, int first, int64_t groups,
                    Vec (&acc)[kTokens]) {
    using R = Record<kWidth>;
    for (int64_t g = 0; g < groups; ++g, x += R::kBytes) {
      const std::byte* const pair = weights + g / 2 * kInt8PairBytes;
      const std::byte* const lines = pair + g % 2 * 512;
      const R record{x + 4 * first};
      Prefetch<8>(lines);
      if (g % 2 == 1) Prefetch<1>(pair + 1024);
      Vec dots[kTokens];
      DotInt8<kWidth, kTokens, R::kOffsets>(lines, record, dots);
      const Vec scale = Scales(pair + 1024 + g % 2 * 32);
      AddScaled(dots, scale, record, acc);
      if (HasRest<kWidth>(x)) [[unlikely]] {
        DotInt8<kWidth, kTokens, R::kRestOffsets>(lines, record.rest(), dots);
        AddScaled(dots, Mul(scale, Set(1 / kRestSteps)), record, acc);
      }
    }
  }
};

// Sixteen outputs of one token.
inline void WriteOutputs(const MatmulTask& task, int64_t token, int64_t panel, Vec value) {
  float* const out = task.out + token * task.out_stride + panel * kPanelRows;
  const int64_t rows = task.weights.rows - panel * kPanelRows;
  if (rows >= kPanelRows) {
    Store(out, task.add ? Add(Load(out), value) : value);
  } else {
    StorePart(out, task.add ? Add(LoadPart(out, rows), value) : value, rows);
  }
}

template <typename Format, int kWidth, int kTokens>
inline void PanelTimesTokens(const MatmulTask& task, int64_t panel, int64_t tile, int first) {
  Vec acc[kTokens];
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) acc[t] = Set(0);
  const std::byte* const weights = task.weights.data + panel * task.weights.panel_bytes();
  Format::template Panel<kWidth, kTokens>(weights, task.quantized.tile(tile), first,
                                          task.weights.columns / kGroup, acc);
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) {
    WriteOutputs(task, tile * kWidth + first + t, panel, acc[t]);
  }
}

// `tokens` tokens of a tile from `first` on, as many at once as there are registers.
template <typename Format, int kWidth, int kTokens>
inline void PanelTimesTile(const MatmulTask& task, int64_t panel, int64_t tile, int first,
                           int tokens) {
  if constexpr (kTokens > 1) {
    if (tokens < kTokens) {
      return PanelTimesTile<Format, kWidth, kTokens - 1>(task, panel, tile, first, tokens);
    }
  }
  PanelTimesTokens<Format, kWidth, kTokens>(task, panel, tile, first);
  if (tokens > kTokens) {
    PanelTimesTile<Format, kWidth, kTokens>(task, panel, tile, first + kTokens, tokens - kTokens);
  }
}

template <typename Format, int kWidth>
void MatmulIntOfWidth(const MatmulTask& task, int64_t first, int64_t end) {
  constexpr int kAtOnce = kWidth < kTokensAtOnce ? kWidth : kTokensAtOnce;
  constexpr int64_t kTilesAtOnce = 8;  // Their activations stay in the second cache.
  const int64_t tiles = task.quantized.tiles();
  for (int64_t block = 0; block < tiles; block += kTilesAtOnce) {
    const int64_t block_end = block + kTilesAtOnce < tiles ? block + kTilesAtOnce : tiles;
    for (int64_t panel = first; panel < end; ++panel) {
      for (int64_t tile = block; tile < block_end; ++tile) {
        const int64_t left = task.tokens - tile * kWidth;
        const int tokens = static_cast<int>(left < kWidth ? left : kWidth);
        PanelTimesTile<Format, kWidth, kAtOnce>(task, panel, tile, 0, tokens);
      }
    }
  }
}

template <typename Format>
void MatmulInt(const MatmulTask& task, int64_t first, int64_t end) {
  switch (task.quantized.width) {
    case 1:
      return MatmulIntOfWidth<Format, 1>(task, first, end);
    case 4:
      return MatmulIntOfWidth<Format, 4>(task, first, end);
    default:
      return MatmulIntOfWidth<Format, 12>(task, first, end);
  }
}

}  // namespace compute::cpu::KAITO_LEVEL
