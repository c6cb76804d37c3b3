#include "common/compute/dtype.h"

#include <array>

#include "common/base/check.h"

namespace compute {
namespace {

constexpr std::array kTypes = {
    DTypeFacts{DType::kF32, "F32", 1, 4},         DTypeFacts{DType::kF16, "F16", 1, 2},
    DTypeFacts{DType::kQ4_0, "Q4_0", 32, 18},     DTypeFacts{DType::kQ4_1, "Q4_1", 32, 20},
    DTypeFacts{DType::kQ5_0, "Q5_0", 32, 22},     DTypeFacts{DType::kQ5_1, "Q5_1", 32, 24},
    DTypeFacts{DType::kQ8_0, "Q8_0", 32, 34},     DTypeFacts{DType::kQ2_K, "Q2_K", 256, 84},
    DTypeFacts{DType::kQ3_K, "Q3_K", 256, 110},   DTypeFacts{DType::kQ4_K, "Q4_K", 256, 144},
    DTypeFacts{DType::kQ5_K, "Q5_K", 256, 176},   DTypeFacts{DType::kQ6_K, "Q6_K", 256, 210},
    DTypeFacts{DType::kIQ4_NL, "IQ4_NL", 32, 18}, DTypeFacts{DType::kIQ4_XS, "IQ4_XS", 256, 136},
    DTypeFacts{DType::kI8, "I8", 1, 1},           DTypeFacts{DType::kI16, "I16", 1, 2},
    DTypeFacts{DType::kI32, "I32", 1, 4},         DTypeFacts{DType::kBF16, "BF16", 1, 2},
    DTypeFacts{DType::kMXFP4, "MXFP4", 32, 17},
};

}  // namespace

const DTypeFacts* FindDType(uint32_t number) {
  for (const DTypeFacts& facts : kTypes) {
    if (static_cast<uint32_t>(facts.type) == number) return &facts;
  }
  return nullptr;
}

const DTypeFacts& Facts(DType type) {
  const DTypeFacts* const facts = FindDType(static_cast<uint32_t>(type));
  CHECK(facts != nullptr);
  return *facts;
}

}  // namespace compute
