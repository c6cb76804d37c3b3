// What can compute.

#pragma once

#include <string>
#include <vector>

namespace compute {

enum class DeviceKind { kCpu, kCuda };

struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;     // Among those of its kind.
  std::string name;  // "cpu", "cuda:0"
};

// The CPU first, then the accelerators.
std::vector<Device> ListDevices();

}  // namespace compute
