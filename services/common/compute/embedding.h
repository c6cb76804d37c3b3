// Token numbers → vectors.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/compute/context.h"
#include "common/compute/dtype.h"
#include "common/compute/tensor.h"

namespace compute {

struct EmbeddingArgs {
  std::span<const int32_t> tokens;  // Each in [0, rows of the table).
  DType type = DType::kF32;         // Of the table, as it lies in the file, row after row.
  const std::byte* table = nullptr;
  Tensor out;  // [tokens, hidden]
};

// out[t] = table[tokens[t]], exactly.
void Embedding(const Context& context, const EmbeddingArgs& args);

}  // namespace compute
