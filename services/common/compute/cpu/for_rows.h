// Rows of a tensor, shared out between the threads when there are enough of them.

#pragma once

#include <algorithm>
#include <cstdint>

#include "common/compute/context.h"

namespace compute::cpu {

// Below this many values waking the other threads costs more than it gains.
inline constexpr int64_t kInlineValues = 4096;

// Calls body(row) for every row of `columns` values.
template <typename Body>
void ForRows(const Context& context, int64_t rows, int64_t columns, const Body& body) {
  if (rows * columns <= kInlineValues) {
    for (int64_t row = 0; row < rows; ++row) body(row);
    return;
  }
  const int64_t per_chunk = std::max<int64_t>(1, kInlineValues / std::max<int64_t>(1, columns));
  const auto chunks = static_cast<int>((rows + per_chunk - 1) / per_chunk);
  context.team().Run(chunks, [&](int, int chunk) {
    const int64_t end = std::min(rows, (chunk + 1) * per_chunk);
    for (int64_t row = chunk * per_chunk; row < end; ++row) body(row);
  });
}

}  // namespace compute::cpu
