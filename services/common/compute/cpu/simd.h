// Sixteen lanes of float32 for the instruction set level that this file is compiled for.
//
// Included only by level_*.cc, after KAITO_LEVEL is defined as the level's namespace. All levels do
// the same operations in the same order (sums in the same tree, multiply-add always fused), so that
// their results are equal bit by bit.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "common/compute/half.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace compute::cpu::KAITO_LEVEL {

#if defined(__AVX512F__)

struct Vec {
  __m512 v;
};

inline Vec Load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void Store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
inline Vec Set(float x) { return {_mm512_set1_ps(x)}; }
inline Vec Add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec Sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec Mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec Div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec Fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec Max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec Min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec Abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
inline Vec RoundEven(Vec a) { return {_mm512_roundscale_ps(a.v, 8)}; }
// 2^n for whole n in [-126, 127].
inline Vec PowerOfTwo(Vec n) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
}
inline Vec LoadF16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline Vec LoadBF16(const uint16_t* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
inline void StoreF16(uint16_t* p, Vec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, 8));
}
// Whole numbers in [-128, 127].
inline void StoreI8(int8_t* p, Vec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}
inline void Halves(Vec a, __m256& low, __m256& high) {
  low = _mm512_castps512_ps256(a.v);
  high = _mm512_extractf32x8_ps(a.v, 1);
}

#elif defined(__AVX2__)

struct Vec {
  __m256 a, b;
};

inline Vec Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void Store(float* p, Vec x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline Vec Set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Vec Add(Vec x, Vec y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Vec Sub(Vec x, Vec y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Vec Mul(Vec x, Vec y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Vec Div(Vec x, Vec y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Vec Fma(Vec x, Vec y, Vec z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline Vec Max(Vec x, Vec y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline Vec Min(Vec x, Vec y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline Vec Abs(Vec x) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline Vec RoundEven(Vec x) { return {_mm256_round_ps(x.a, 8), _mm256_round_ps(x.b, 8)}; }
inline Vec PowerOfTwo(Vec n) {
  const auto power = [](__m256 x) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  };
  return {power(n.a), power(n.b)};
}
inline Vec LoadF16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline Vec LoadBF16(const uint16_t* p) {
  const auto widen = [](const uint16_t* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  };
  return {widen(p), widen(p + 8)};
}
inline void StoreF16(uint16_t* p, Vec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.a, 8));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.b, 8));
}
inline void StoreI8(int8_t* p, Vec x) {
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
inline void Halves(Vec x, __m256& low, __m256& high) {
  low = x.a;
  high = x.b;
}

#else

struct Vec {
  float v[16];
};

template <typename F>
inline Vec Each(F f) {
  Vec r;
  for (int i = 0; i < 16; ++i) r.v[i] = f(i);
  return r;
}
inline Vec Load(const float* p) {
  Vec r;
  std::memcpy(r.v, p, sizeof(r.v));
  return r;
}
inline void Store(float* p, Vec a) { std::memcpy(p, a.v, sizeof(a.v)); }
inline Vec Set(float x) {
  return Each([&](int) { return x; });
}
inline Vec Add(Vec a, Vec b) {
  return Each([&](int i) { return a.v[i] + b.v[i]; });
}
inline Vec Sub(Vec a, Vec b) {
  return Each([&](int i) { return a.v[i] - b.v[i]; });
}
inline Vec Mul(Vec a, Vec b) {
  return Each([&](int i) { return a.v[i] * b.v[i]; });
}
inline Vec Div(Vec a, Vec b) {
  return Each([&](int i) { return a.v[i] / b.v[i]; });
}
inline Vec Fma(Vec a, Vec b, Vec c) {
  return Each([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
}
inline Vec Max(Vec a, Vec b) {
  return Each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec Min(Vec a, Vec b) {
  return Each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec Abs(Vec a) {
  return Each([&](int i) { return __builtin_fabsf(a.v[i]); });
}
inline Vec RoundEven(Vec a) {
  return Each([&](int i) { return __builtin_nearbyintf(a.v[i]); });
}
inline Vec PowerOfTwo(Vec n) {
  return Each([&](int i) {
    const uint32_t bits = static_cast<uint32_t>(static_cast<int>(n.v[i]) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof(power));
    return power;
  });
}
inline Vec LoadF16(const uint16_t* p) {
  return Each([&](int i) { return HalfToFloat(p[i]); });
}
inline Vec LoadBF16(const uint16_t* p) {
  return Each([&](int i) { return BFloat16ToFloat(p[i]); });
}
inline void StoreF16(uint16_t* p, Vec a) {
  for (int i = 0; i < 16; ++i) p[i] = FloatToHalf(a.v[i]);
}
inline void StoreI8(int8_t* p, Vec a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(a.v[i]);
}

#endif

// Sum of the lanes: of lanes 8 apart, then 4, 2, 1.
inline float Sum(Vec a) {
#ifdef __AVX2__
  __m256 low;
  __m256 high;
  Halves(a, low, high);
  const __m256 eight = _mm256_add_ps(low, high);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
#else
  for (int step = 8; step > 0; step /= 2) {
    for (int i = 0; i < step; ++i) a.v[i] += a.v[i + step];
  }
  return a.v[0];
#endif
}

inline float MaxLane(Vec a) {
#ifdef __AVX2__
  __m256 low;
  __m256 high;
  Halves(a, low, high);
  const __m256 eight = _mm256_max_ps(low, high);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
#else
  float max = a.v[0];
  for (int i = 1; i < 16; ++i) max = a.v[i] > max ? a.v[i] : max;
  return max;
#endif
}

// 2^x: relative error below 2e-7 for x in [-125, 126]; smaller x give 2^-126, about 0.
inline Vec Exp2(Vec x) {
  x = Max(Min(x, Set(126.0F)), Set(-126.0F));
  const Vec whole = RoundEven(x);
  const Vec f = Sub(x, whole);  // In [-0.5, 0.5].
  Vec p = Set(1.535336188319500e-4F);
  p = Fma(p, f, Set(1.339887440266574e-3F));
  p = Fma(p, f, Set(9.618437357674640e-3F));
  p = Fma(p, f, Set(5.550332471162809e-2F));
  p = Fma(p, f, Set(2.402264791363012e-1F));
  p = Fma(p, f, Set(6.931472028550421e-1F));
  p = Fma(p, f, Set(1.0F));
  return Mul(p, PowerOfTwo(whole));
}

inline Vec Exp(Vec x) { return Exp2(Mul(x, Set(1.44269504088896341F))); }

}  // namespace compute::cpu::KAITO_LEVEL
