// The CUDA devices of this machine.

#pragma once

#include <vector>

#include "common/compute/device.h"

namespace compute::cuda {

// Empty where there is none, or where the suite was built without CUDA.
std::vector<Device> ListDevices();

}  // namespace compute::cuda
