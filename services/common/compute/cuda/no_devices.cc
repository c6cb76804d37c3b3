// Stands for this folder where no CUDA compiler is there: no devices, everything else works.

#include "common/compute/cuda/devices.h"

namespace compute::cuda {

std::vector<Device> ListDevices() { return {}; }

}  // namespace compute::cuda
