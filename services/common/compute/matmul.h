// Activations times weights.

#pragma once

#include <cstddef>
#include <span>

#include "common/compute/context.h"
#include "common/compute/packed_matrix.h"
#include "common/compute/quantized_rows.h"
#include "common/compute/tensor.h"

namespace compute {

// x → int8 with one scale per token and 32 columns: scale = max |x| / 127, nearest even.
// `out` has x's tokens and room for its columns, which are a multiple of 32.
void Quantize(const Context& context, const Tensor& x, const QuantizedRows& out);

// One matrix and where its outputs go.
struct MatmulPart {
  const PackedMatrix* weights = nullptr;
  Tensor out;  // [tokens, rows of the weights]
};

struct MatmulArgs {
  Tensor x;                           // [tokens, columns]; read by the float layouts.
  QuantizedRows quantized;            // The same, from Quantize(); read by the integer layouts.
  std::span<const MatmulPart> parts;  // Matrices that share x, e.g. q, k and v. At most 4.
  bool add = false;                   // out += instead of out =.
};

// out[t, r] = sum over k of x[t, k] * weights[r, k]
//
// Integer layouts compute with the quantised activations: exactly within a group of 32 columns, in
// float32 over the groups in order. A row of the result depends only on its own inputs, never on
// the other tokens or the threads; for the integer layouts it is the same on every instruction set
// level.
void Matmul(const Context& context, const MatmulArgs& args);

}  // namespace compute
