// The kernels for AVX-512 with VNNI (x86-64-v4).

#define KAITO_LEVEL avx512

#include "common/compute/cpu/table.h"
