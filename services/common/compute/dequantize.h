// Stored blocks → float32.

#pragma once

#include <cstddef>
#include <cstdint>

#include "common/compute/dtype.h"

namespace compute {

// Writes `values` float32 values; `values` is a multiple of the type's block. `blocks` may lie at
// any address. Each product is rounded by itself, as ggml's reference does: results are equal to
// it. Integer types are no weights: CHECK.
void Dequantize(DType type, const std::byte* blocks, int64_t values, float* out);

}  // namespace compute
