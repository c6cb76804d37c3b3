// Activations as int8 numbers with a scale per group of 32, in the order in which the matrix
// kernels read them.

#pragma once

#include <cstddef>
#include <cstdint>

#include "common/compute/packed_matrix.h"

namespace compute {

// Tokens come in tiles of `width`; per tile and group there is one record:
//   width x 8 words of 4 numbers  (word i of token t at (i * width + t) * 4)
//   width float32  scales
//   width float32  scale * sum of the numbers: what a weight's minimum is multiplied with
//   width int32    -128 * sum: takes back the 128 that int8 weights have on top
//   width x 8 words  what rounding left over, in steps of scale / 254
//   width int32    -128 * sum of these
//   int32          1 if any token of the record has such left-overs; else they are not read
//
// A few groups of a token hold its outliers. Their large scale makes almost all of the error of the
// whole row, so they, and they alone, are kept to 16 bits.
//
// Owns nothing.
struct QuantizedRows {
  std::byte* data = nullptr;
  int64_t tokens = 0;
  int64_t groups = 0;  // Even; one more than the columns need may be there, all zero.
  int width = 1;

  static constexpr int kTokenBytes = 32 + 4 + 4 + 4 + 32 + 4;
  static constexpr int kFlagBytes = 4;

  int64_t tiles() const { return (tokens + width - 1) / width; }
  int64_t record_bytes() const { return static_cast<int64_t>(width) * kTokenBytes + kFlagBytes; }
  std::byte* tile(int64_t index) const { return data + index * groups * record_bytes(); }

  // Few tokens are kept dense, so that they stay in the first cache beside the weights. Results do
  // not depend on the width.
  static int WidthFor(int64_t tokens) { return tokens == 1 ? 1 : tokens <= 4 ? 4 : 12; }
  static int64_t GroupsFor(int64_t columns) { return (columns / kGroup + 1) / 2 * 2; }
  // Enough for every number of tokens up to `tokens_max`.
  static int64_t BytesFor(int64_t tokens_max, int64_t columns) {
    return (tokens_max + 12) * GroupsFor(columns) * (kTokenBytes + kFlagBytes);
  }
};

inline QuantizedRows MakeQuantizedRows(std::byte* data, int64_t tokens, int64_t columns) {
  return {.data = data,
          .tokens = tokens,
          .groups = QuantizedRows::GroupsFor(columns),
          .width = QuantizedRows::WidthFor(tokens)};
}

}  // namespace compute
