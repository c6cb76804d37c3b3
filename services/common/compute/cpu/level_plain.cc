// The kernels for any x86-64 CPU: also the reading reference for the others.

#define KAITO_LEVEL plain

#include "common/compute/cpu/table.h"
