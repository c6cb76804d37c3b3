#include "common/compute/cpu/kernels.h"

namespace compute::cpu {

const Kernels& KernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kAvx512Vnni:
      return avx512::Table();
    case Isa::kAvx2:
      return avx2::Table();
    case Isa::kPlain:
      break;
  }
  return plain::Table();
}

}  // namespace compute::cpu
