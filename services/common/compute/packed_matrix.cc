#include "common/compute/packed_matrix.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/base/check.h"
#include "common/compute/dequantize.h"
#include "common/compute/half.h"

namespace compute {
namespace {

constexpr int64_t kInt4GroupBytes = 4 * 64 + 2 * 32;
constexpr int64_t kInt8PairBytes = 16 * 64 + 2 * 32;

int64_t SourceRow(int64_t row, int64_t pair_rows) {
  if (pair_rows == 0) return row;
  const int64_t head = row / pair_rows * pair_rows;
  const int64_t i = row % pair_rows;
  const int64_t half = pair_rows / 2;
  return head + (i < half ? 2 * i : 2 * (i - half) + 1);
}

uint32_t Load32(const std::byte* p) {
  uint32_t word = 0;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// 16 bytes of a Q4 block: columns 0…15 low, 16…31 high → one word in each of four lines.
void PackNibbles(const std::byte* q, std::byte* row_in_line) {
  constexpr uint32_t kLow = 0x0F0F0F0F;
  const uint32_t words[4] = {Load32(q), Load32(q + 4), Load32(q + 8), Load32(q + 12)};
  const uint32_t lines[4] = {
      (words[0] & kLow) | ((words[1] & kLow) << 4), (words[2] & kLow) | ((words[3] & kLow) << 4),
      ((words[0] >> 4) & kLow) | (words[1] & ~kLow), ((words[2] >> 4) & kLow) | (words[3] & ~kLow)};
  for (int i = 0; i < 4; ++i) std::memcpy(row_in_line + 64 * i, &lines[i], 4);
}

void PackInt4Row(const PackSource& source, const std::byte* blocks, int64_t groups, int lane,
                 std::byte* panel) {
  const bool has_minimum = source.type == DType::kQ4_1;
  const int block_bytes = Facts(source.type).bytes;
  for (int64_t g = 0; g < groups; ++g) {
    const std::byte* const block = blocks + g * block_bytes;
    std::byte* const group = panel + g * kInt4GroupBytes;
    uint16_t scale = 0;
    uint16_t minimum = 0;
    std::memcpy(&scale, block, 2);
    if (has_minimum) {
      std::memcpy(&minimum, block + 2, 2);
    } else {
      minimum = FloatToHalf(-8 * HalfToFloat(scale));  // Exact: a power of two.
    }
    PackNibbles(block + (has_minimum ? 4 : 2), group + 4 * lane);
    std::memcpy(group + 256 + 2 * lane, &scale, 2);
    std::memcpy(group + 288 + 2 * lane, &minimum, 2);
  }
}

void PackInt8Row(const std::byte* blocks, int64_t groups, int lane, std::byte* panel) {
  for (int64_t g = 0; g < groups; ++g) {
    const std::byte* const block = blocks + g * 34;
    std::byte* const pair = panel + g / 2 * kInt8PairBytes;
    std::memcpy(pair + 1024 + g % 2 * 32 + 2 * lane, block, 2);
    for (int i = 0; i < 8; ++i) {
      const uint32_t word = Load32(block + 2 + 4 * i) ^ 0x80808080U;
      std::memcpy(pair + g % 2 * 512 + 64 * i + 4 * lane, &word, 4);
    }
  }
}

void PackHalfRow(const std::byte* values, int64_t columns, int lane, std::byte* panel) {
  for (int64_t i = 0; i < columns; ++i) std::memcpy(panel + 32 * i + 2 * lane, values + 2 * i, 2);
}

void PackF32Row(DType type, const std::byte* values, int64_t columns, int lane, std::byte* panel) {
  std::vector<float> row(columns);
  Dequantize(type, values, columns, row.data());
  for (int64_t i = 0; i < columns; ++i) std::memcpy(panel + 64 * i + 4 * lane, &row[i], 4);
}

}  // namespace

std::string_view LayoutName(WeightLayout layout) {
  switch (layout) {
    case WeightLayout::kF32:
      return "f32";
    case WeightLayout::kF16:
      return "f16";
    case WeightLayout::kBF16:
      return "bf16";
    case WeightLayout::kInt4:
      return "int4";
    case WeightLayout::kInt8:
      return "int8";
  }
  return "";
}

std::optional<WeightLayout> LayoutFor(DType type) {
  switch (type) {
    case DType::kF32:
      return WeightLayout::kF32;
    case DType::kF16:
      return WeightLayout::kF16;
    case DType::kBF16:
      return WeightLayout::kBF16;
    case DType::kQ4_0:
    case DType::kQ4_1:
      return WeightLayout::kInt4;
    case DType::kQ8_0:
      return WeightLayout::kInt8;
    default:
      return std::nullopt;
  }
}

int64_t PackedMatrix::panel_bytes() const {
  const int64_t groups = columns / kGroup;
  switch (layout) {
    case WeightLayout::kF32:
      return columns * kPanelRows * 4;
    case WeightLayout::kF16:
    case WeightLayout::kBF16:
      return columns * kPanelRows * 2;
    case WeightLayout::kInt4:
      return groups * kInt4GroupBytes;
    case WeightLayout::kInt8:
      return (groups + 1) / 2 * kInt8PairBytes;
  }
  return 0;
}

void PackPanels(const PackedMatrix& matrix, const PackSource& source, int64_t first, int64_t end,
                std::byte* out) {
  CHECK(matrix.layout == WeightLayout::kF32 || LayoutFor(source.type) == matrix.layout);
  CHECK(!IsInteger(matrix.layout) || matrix.columns % kGroup == 0);
  const DTypeFacts& facts = Facts(source.type);
  const int64_t row_bytes = matrix.columns / facts.values * facts.bytes;
  const int64_t groups = matrix.columns / kGroup;
  for (int64_t row = first * kPanelRows; row < std::min(end * kPanelRows, matrix.rows); ++row) {
    std::byte* const panel = out + row / kPanelRows * matrix.panel_bytes();
    const auto lane = static_cast<int>(row % kPanelRows);
    const std::byte* const from = source.data + SourceRow(row, source.pair_rows) * row_bytes;
    switch (matrix.layout) {
      case WeightLayout::kF32:
        PackF32Row(source.type, from, matrix.columns, lane, panel);
        break;
      case WeightLayout::kF16:
      case WeightLayout::kBF16:
        PackHalfRow(from, matrix.columns, lane, panel);
        break;
      case WeightLayout::kInt4:
        PackInt4Row(source, from, groups, lane, panel);
        break;
      case WeightLayout::kInt8:
        PackInt8Row(from, groups, lane, panel);
        break;
    }
  }
}

}  // namespace compute
