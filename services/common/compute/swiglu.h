// The gated activation of a Llama's feed-forward layer.

#pragma once

#include "common/compute/context.h"
#include "common/compute/tensor.h"

namespace compute {

struct SwiGluArgs {
  Tensor gate;  // [tokens, n]
  Tensor up;    // [tokens, n]
  Tensor out;   // [tokens, n]; may be gate or up
};

// out = gate / (1 + exp(-gate)) * up
void SwiGlu(const Context& context, const SwiGluArgs& args);

}  // namespace compute
