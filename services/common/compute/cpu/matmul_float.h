// Float weights times float32 activations.
//
// For every output four sums, of the columns k % 4 = 0, 1, 2, 3 in order, added as (0 + 1) + (2 +
// 3).

#pragma once

#include "common/compute/cpu/kernels.h"
#include "common/compute/cpu/matmul_int.h"
#include "common/compute/cpu/simd.h"

namespace compute::cpu::KAITO_LEVEL {

struct F32Column {
  static constexpr int kBytes = 64;
  static Vec Read(const std::byte* p) { return Load(reinterpret_cast<const float*>(p)); }
};
struct F16Column {
  static constexpr int kBytes = 32;
  static Vec Read(const std::byte* p) { return LoadF16(reinterpret_cast<const uint16_t*>(p)); }
};
struct BF16Column {
  static constexpr int kBytes = 32;
  static Vec Read(const std::byte* p) { return LoadBF16(reinterpret_cast<const uint16_t*>(p)); }
};

template <typename Column, int kTokens>
inline void FloatPanel(const MatmulTask& task, int64_t panel, int64_t token) {
  const std::byte* const weights = task.weights.data + panel * task.weights.panel_bytes();
  const float* const x = task.x + token * task.x_stride;
  const int64_t columns = task.weights.columns;
  Vec acc[kTokens][4];
  for (int t = 0; t < kTokens; ++t) {
    for (int j = 0; j < 4; ++j) acc[t][j] = Set(0);
  }
  int64_t k = 0;
  for (; k + 4 <= columns; k += 4) {
    __builtin_prefetch(weights + k * Column::kBytes + kPrefetchBytes);
    __builtin_prefetch(weights + k * Column::kBytes + kPrefetchBytes + 2 * Column::kBytes);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Vec w = Column::Read(weights + (k + j) * Column::kBytes);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        acc[t][j] = Fma(w, Set(x[t * task.x_stride + k + j]), acc[t][j]);
      }
    }
  }
  for (int j = 0; k < columns; ++k, ++j) {
    const Vec w = Column::Read(weights + k * Column::kBytes);
    for (int t = 0; t < kTokens; ++t) {
      acc[t][j] = Fma(w, Set(x[t * task.x_stride + k]), acc[t][j]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    const Vec value = Add(Add(acc[t][0], acc[t][1]), Add(acc[t][2], acc[t][3]));
    WriteOutputs(task, token + t, panel, value);
  }
}

template <typename Column>
void MatmulFloat(const MatmulTask& task, int64_t first, int64_t end) {
  for (int64_t panel = first; panel < end; ++panel) {
    int64_t token = 0;
    for (; token + 4 <= task.tokens; token += 4) FloatPanel<Column, 4>(task, panel, token);
    for (; token < task.tokens; ++token) FloatPanel<Column, 1>(task, panel, token);
  }
}

}  // namespace compute::cpu::KAITO_LEVEL
