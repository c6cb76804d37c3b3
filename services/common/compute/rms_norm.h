// Root-mean-square normalisation.

#pragma once

#include "common/compute/context.h"
#include "common/compute/tensor.h"

namespace compute {

struct RmsNormArgs {
  Tensor x;       // [tokens, hidden]
  Tensor weight;  // [1, hidden]
  Tensor out;     // [tokens, hidden]; may be x
  float epsilon = 1e-5F;
};

// out[t, i] = weight[i] * x[t, i] / sqrt(mean over i of x[t, i]^2 + epsilon), in float32.
void RmsNorm(const Context& context, const RmsNormArgs& args);

}  // namespace compute
