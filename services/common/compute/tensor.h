// A view of numbers on a device.

#pragma once

#include <cstdint>

#include "common/compute/dtype.h"

namespace compute {

// Rows of `columns` values, `stride` values apart. Owns nothing.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t stride = 0;

  template <typename T = float>
  T* row(int64_t index) const {
    return static_cast<T*>(data) + index * stride;
  }

  // Columns [first, first + count) of all rows.
  Tensor Columns(int64_t first, int64_t count) const {
    Tensor part = *this;
    part.data = static_cast<float*>(data) + first;
    part.columns = count;
    return part;
  }

  // The first `count` rows.
  Tensor Rows(int64_t count) const {
    Tensor part = *this;
    part.rows = count;
    return part;
  }
};

inline Tensor MakeTensor(float* data, int64_t rows, int64_t columns) {
  return {.data = data, .rows = rows, .columns = columns, .stride = columns};
}

}  // namespace compute
