// The number formats in which weights are stored, numbered as in GGUF files.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace compute {

// NOLINTBEGIN(readability-identifier-naming): the formats' own names.
enum class DType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kBF16 = 30,
  kMXFP4 = 39,
};
// NOLINTEND(readability-identifier-naming)

// A tensor of this type is a row of blocks of `values` values in `bytes` bytes each. Plain numbers
// are blocks of one.
struct DTypeFacts {
  DType type;
  std::string_view name;
  int values;
  int bytes;
};

// Null if `number` names no type that can be read.
const DTypeFacts* FindDType(uint32_t number);

// Of a type that exists.
const DTypeFacts& Facts(DType type);

}  // namespace compute
