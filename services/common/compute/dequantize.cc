#include "common/compute/dequantize.h"

#include <array>
#include <bit>
#include <cstring>

#include "common/base/check.h"
#include "common/compute/half.h"

// Layouts: https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h
namespace compute {
namespace {

constexpr std::array<int8_t, 16> kIq4Values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};
constexpr std::array<int8_t, 16> kMxfp4Values = {0, 1,  2,  3,  4,  6,  8,  12,
                                                 0, -1, -2, -3, -4, -6, -8, -12};

const uint8_t* Bytes(const std::byte* block) { return reinterpret_cast<const uint8_t*>(block); }

uint16_t Word(const uint8_t* p) {
  uint16_t word = 0;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

float Half(const uint8_t* p) { return HalfToFloat(Word(p)); }

void F32(const uint8_t* b, float* out) { std::memcpy(out, b, sizeof(float)); }
void F16(const uint8_t* b, float* out) { *out = Half(b); }
void BF16(const uint8_t* b, float* out) { *out = BFloat16ToFloat(Word(b)); }

// Blocks of 32: 16 bytes hold values 0…15 in their low halves and 16…31 in their high halves.
void Q4_0(const uint8_t* b, float* out) {
  const float d = Half(b);
  for (int i = 0; i < 16; ++i) {
    out[i] = static_cast<float>((b[2 + i] & 15) - 8) * d;
    out[i + 16] = static_cast<float>((b[2 + i] >> 4) - 8) * d;
  }
}

void Q4_1(const uint8_t* b, float* out) {
  const float d = Half(b);
  const float m = Half(b + 2);
  for (int i = 0; i < 16; ++i) {
    const float low = static_cast<float>(b[4 + i] & 15) * d;
    const float high = static_cast<float>(b[4 + i] >> 4) * d;
    out[i] = low + m;
    out[i + 16] = high + m;
  }
}

// As Q4, with the fifth bits of all values in one word.
void Q5_0(const uint8_t* b, float* out) {
  const float d = Half(b);
  const uint32_t high = Word(b + 2) | (static_cast<uint32_t>(Word(b + 4)) << 16);
  for (int i = 0; i < 16; ++i) {
    const auto x = static_cast<int>((b[6 + i] & 15) | (((high >> i) & 1) << 4));
    const auto y = static_cast<int>((b[6 + i] >> 4) | (((high >> (i + 16)) & 1) << 4));
    out[i] = static_cast<float>(x - 16) * d;
    out[i + 16] = static_cast<float>(y - 16) * d;
  }
}

void Q5_1(const uint8_t* b, float* out) {
  const float d = Half(b);
  const float m = Half(b + 2);
  const uint32_t high = Word(b + 4) | (static_cast<uint32_t>(Word(b + 6)) << 16);
  for (int i = 0; i < 16; ++i) {
    const float x = static_cast<float>((b[8 + i] & 15) | (((high >> i) & 1) << 4)) * d;
    const float y = static_cast<float>((b[8 + i] >> 4) | (((high >> (i + 16)) & 1) << 4)) * d;
    out[i] = x + m;
    out[i + 16] = y + m;
  }
}

void Q8_0(const uint8_t* b, float* out) {
  const float d = Half(b);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(b[2 + i])) * d;
}

// Blocks of 256. K types: sub-blocks with small integer scales under a common half scale.
void Q2K(const uint8_t* b, float* out) {
  const uint8_t* const scales = b;
  const uint8_t* q = b + 16;
  const float d = Half(b + 80);
  const float dmin = Half(b + 82);
  for (int i = 0; i < 256; ++i) {
    const int sub = i / 16;
    const int quant = (q[(i / 128) * 32 + i % 32] >> (2 * ((i % 128) / 32))) & 3;
    const float dl = d * static_cast<float>(scales[sub] & 15);
    const float ml = dmin * static_cast<float>(scales[sub] >> 4);
    const float product = dl * static_cast<float>(quant);
    out[i] = product - ml;
  }
}

void Q3K(const uint8_t* b, float* out) {
  const uint8_t* const mask = b;
  const uint8_t* const q = b + 32;
  const uint8_t* const s = b + 96;
  const float d = Half(b + 108);
  for (int i = 0; i < 256; ++i) {
    const int sub = i / 16;
    const int low = sub < 8 ? s[sub] & 15 : s[sub - 8] >> 4;
    const int high = (s[8 + sub % 4] >> (2 * (sub / 4))) & 3;
    const float dl = d * static_cast<float>((low | (high << 4)) - 32);
    const int quant = (q[(i / 128) * 32 + i % 32] >> (2 * ((i % 128) / 32))) & 3;
    const bool set = ((mask[i % 32] >> (i / 32)) & 1) != 0;
    out[i] = dl * static_cast<float>(quant - (set ? 0 : 4));
  }
}

// Scale and minimum of sub-block `j`, six bits each, packed into 12 bytes.
void ScaleMinK4(int j, const uint8_t* s, int& scale, int& min) {
  if (j < 4) {
    scale = s[j] & 63;
    min = s[j + 4] & 63;
  } else {
    scale = (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4);
    min = (s[j + 4] >> 4) | ((s[j] >> 6) << 4);
  }
}

void Q4K(const uint8_t* b, float* out) {
  const float d = Half(b);
  const float dmin = Half(b + 2);
  const uint8_t* const q = b + 16;
  for (int i = 0; i < 256; ++i) {
    int scale = 0;
    int min = 0;
    ScaleMinK4(i / 32, b + 4, scale, min);
    const uint8_t byte = q[(i / 64) * 32 + i % 32];
    const int quant = (i % 64) < 32 ? byte & 15 : byte >> 4;
    const float product = d * static_cast<float>(scale) * static_cast<float>(quant);
    const float offset = dmin * static_cast<float>(min);
    out[i] = product - offset;
  }
}

void Q5K(const uint8_t* b, float* out) {
  const float d = Half(b);
  const float dmin = Half(b + 2);
  const uint8_t* const high = b + 16;
  const uint8_t* const q = b + 48;
  for (int i = 0; i < 256; ++i) {
    int scale = 0;
    int min = 0;
    ScaleMinK4(i / 32, b + 4, scale, min);
    const uint8_t byte = q[(i / 64) * 32 + i % 32];
    const int low = (i % 64) < 32 ? byte & 15 : byte >> 4;
    const int quant = low | (((high[i % 32] >> (i / 32)) & 1) << 4);
    const float product = d * static_cast<float>(scale) * static_cast<float>(quant);
    const float offset = dmin * static_cast<float>(min);
    out[i] = product - offset;
  }
}

void Q6K(const uint8_t* b, float* out) {
  const uint8_t* const low = b;
  const uint8_t* const high = b + 128;
  const auto* const scales = reinterpret_cast<const int8_t*>(b + 192);
  const float d = Half(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128;
    const int quarter = (i % 128) / 32;
    const uint8_t byte = low[half * 64 + i % 64];
    const int bits = (quarter < 2 ? byte & 15 : byte >> 4) |
                     (((high[half * 32 + i % 32] >> (2 * quarter)) & 3) << 4);
    out[i] = d * static_cast<float>(scales[i / 16]) * static_cast<float>(bits - 32);
  }
}

void IQ4NL(const uint8_t* b, float* out) {
  const float d = Half(b);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(kIq4Values[b[2 + i] & 15]);
    out[i + 16] = d * static_cast<float>(kIq4Values[b[2 + i] >> 4]);
  }
}

void IQ4XS(const uint8_t* b, float* out) {
  const float d = Half(b);
  const uint16_t scales_high = Word(b + 2);
  for (int sub = 0; sub < 8; ++sub) {
    const int low = (b[4 + sub / 2] >> (4 * (sub % 2))) & 15;
    const int high = (scales_high >> (2 * sub)) & 3;
    const float dl = d * static_cast<float>((low | (high << 4)) - 32);
    const uint8_t* const q = b + 8 + sub * 16;
    for (int i = 0; i < 16; ++i) {
      out[sub * 32 + i] = dl * static_cast<float>(kIq4Values[q[i] & 15]);
      out[sub * 32 + i + 16] = dl * static_cast<float>(kIq4Values[q[i] >> 4]);
    }
  }
}

void MXFP4(const uint8_t* b, float* out) {
  // The scale is 2^(e - 127); the table holds doubled values, so half of it.
  const uint32_t e = b[0];
  const float d = std::bit_cast<float>(e < 2 ? 0x00200000U << e : (e - 1) << 23);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(kMxfp4Values[b[1 + i] & 15]);
    out[i + 16] = d * static_cast<float>(kMxfp4Values[b[1 + i] >> 4]);
  }
}

using BlockFunction = void (*)(const uint8_t* block, float* out);

BlockFunction FunctionOf(DType type) {
  switch (type) {
    case DType::kF32:
      return F32;
    case DType::kF16:
      return F16;
    case DType::kBF16:
      return BF16;
    case DType::kQ4_0:
      return Q4_0;
    case DType::kQ4_1:
      return Q4_1;
    case DType::kQ5_0:
      return Q5_0;
    case DType::kQ5_1:
      return Q5_1;
    case DType::kQ8_0:
      return Q8_0;
    case DType::kQ2_K:
      return Q2K;
    case DType::kQ3_K:
      return Q3K;
    case DType::kQ4_K:
      return Q4K;
    case DType::kQ5_K:
      return Q5K;
    case DType::kQ6_K:
      return Q6K;
    case DType::kIQ4_NL:
      return IQ4NL;
    case DType::kIQ4_XS:
      return IQ4XS;
    case DType::kMXFP4:
      return MXFP4;
    case DType::kI8:
    case DType::kI16:
    case DType::kI32:
      return nullptr;
  }
  return nullptr;
}

}  // namespace

void Dequantize(DType type, const std::byte* blocks, int64_t values, float* out) {
  const DTypeFacts& facts = Facts(type);
  const BlockFunction function = FunctionOf(type);
  CHECK(function != nullptr);
  CHECK(values % facts.values == 0);
  const uint8_t* block = Bytes(blocks);
  for (int64_t i = 0; i < values; i += facts.values, block += facts.bytes) function(block, out + i);
}

}  // namespace compute
