#include "common/compute/device.h"

#include "common/compute/cuda/devices.h"

namespace compute {

std::vector<Device> ListDevices() {
  std::vector<Device> devices = {{.kind = DeviceKind::kCpu, .index = 0, .name = "cpu"}};
  for (Device& device : cuda::ListDevices()) devices.push_back(std::move(device));
  return devices;
}

}  // namespace compute
