// All kernels of one level, put into its table. Included by level_*.cc alone, whose compiler flags
// decide what comes out.

#pragma once

#include "common/compute/cpu/attention.h"
#include "common/compute/cpu/elementwise.h"
#include "common/compute/cpu/kernels.h"
#include "common/compute/cpu/matmul_float.h"
#include "common/compute/cpu/matmul_int.h"
#include "common/compute/cpu/simd.h"

namespace compute::cpu::KAITO_LEVEL {

const Kernels& Table() {
  static constexpr Kernels kTable = {
      .matmul_f32 = MatmulFloat<F32Column>,
      .matmul_f16 = MatmulFloat<F16Column>,
      .matmul_bf16 = MatmulFloat<BF16Column>,
      .matmul_int4 = MatmulInt<Int4>,
      .matmul_int8 = MatmulInt<Int8>,
      .quantize_tile = QuantizeTile,
      .rms_norm = RmsNorm,
      .swiglu = SwiGlu,
      .rope = Rope,
      .store_kv_f16 = StoreKv<F16Cache>,
      .store_kv_f32 = StoreKv<F32Cache>,
      .attention_f16 = AttentionSpan<F16Cache>,
      .attention_f32 = AttentionSpan<F32Cache>,
      .attention_combine = AttentionCombine,
      .attention_finish = AttentionFinish,
  };
  return kTable;
}

}  // namespace compute::cpu::KAITO_LEVEL
