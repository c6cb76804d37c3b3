// Manifests.

#include <cstdint>
#include <string_view>

#include "boost/json.hpp"
#include "common/kube/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)kube::ParseYaml(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
