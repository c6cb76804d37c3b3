// The kernels for AVX2, FMA and F16C (x86-64-v3).

#define KAITO_LEVEL avx2

#include "common/compute/cpu/table.h"
