// Weights in the layout that the CPU's matrix kernels read.
//
// Sixteen rows are interleaved into a panel, which is one forward stream; the last panel is filled
// up with zero rows. In a panel:
//   kF32, kF16, kBF16  per column: 16 values.
//   kInt4   per group of 32 columns: 4 lines of 64 bytes, then 16 scales and 16 minimums (half).
//           A line has 8 columns: byte 4 * row + j holds column j low and column 4 + j high.
//           value = scale * number + minimum.
//   kInt8   per two groups: 16 lines of 4 columns (byte 4 * row + j, number + 128), then 16 scales
//           of the first and 16 of the second group (half). value = scale * number.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "common/compute/dtype.h"

namespace compute {

inline constexpr int kPanelRows = 16;
inline constexpr int kGroup = 32;  // Columns that share a scale; also of the activations.

enum class WeightLayout { kF32, kF16, kBF16, kInt4, kInt8 };

std::string_view LayoutName(WeightLayout layout);

inline bool IsInteger(WeightLayout layout) {
  return layout == WeightLayout::kInt4 || layout == WeightLayout::kInt8;
}

// The layout that holds a stored type without loss; nullopt if it cannot be computed with.
std::optional<WeightLayout> LayoutFor(DType type);

struct PackedMatrix {
  WeightLayout layout = WeightLayout::kF32;
  int64_t rows = 0;     // Outputs.
  int64_t columns = 0;  // Inputs. A multiple of kGroup for the integer layouts.
  const std::byte* data = nullptr;

  int64_t panels() const { return (rows + kPanelRows - 1) / kPanelRows; }
  int64_t panel_bytes() const;
  int64_t bytes() const { return panels() * panel_bytes(); }
};

// A matrix as it lies in a file: `rows` rows of `columns` values of `type`.
struct PackSource {
  DType type = DType::kF32;
  const std::byte* data = nullptr;
  // Not 0: rows come in heads of so many, whose rotary pairs (2i, 2i + 1) are moved to
  // (i, i + half), so that a kernel turns whole vectors.
  int64_t pair_rows = 0;
};

// Fills panels [first, end) of `matrix`, whose memory starts at `out`. Panels may be filled by
// several threads. The source's type has the matrix's layout (LayoutFor), or the layout is kF32.
void PackPanels(const PackedMatrix& matrix, const PackSource& source, int64_t first, int64_t end,
                std::byte* out);

}  // namespace compute
