// Which machines clouds sell and what GPUs are in them: deploy/gpu-types/*.yaml.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/catalog/problem.h"

namespace catalog {

// One machine size of one provider.
struct GpuType {
  std::string provider;            // azure, aws, arc.
  std::string name;                // As the provider spells it: Standard_NC24ads_A100_v4.
  int gpus = 0;                    // 0: a plain machine without GPUs.
  double memory_total_gib = 0;     // Of all GPUs together.
  std::string model;               // "NVIDIA A100"; empty without GPUs.
  std::string compute_capability;  // "8.0"; empty: not CUDA, or unknown.
  bool local_nvme = false;
  std::string vendor;  // nvidia, amd, aws; empty without GPUs.

  int vcpus = 0;                       // 0: unknown.
  double host_memory_gib = 0;          // 0: unknown.
  std::string quota_family;            // Azure's; empty: unknown.
  std::string arch = "amd64";          // Or arm64.
  std::vector<std::string> zones;      // Empty: unknown, or the place has none.
  std::optional<double> usd_per_hour;  // On demand, typical. Absent: unknown, not free.

  // Bytes of one GPU: total div gpus. 0 without GPUs.
  int64_t gpu_bytes() const;
  int64_t memory_total_bytes() const;
  // Whether compute_capability is at least `wanted` ("7.0"); false when unknown.
  bool HasComputeCapability(std::string_view wanted) const;
};

// All types by provider and name. Immutable once loaded: any number of threads may read.
class GpuTypes {
 public:
  GpuTypes() = default;
  explicit GpuTypes(std::vector<GpuType> types);

  // Reads every .yaml file of `folder`. A bad entry becomes a problem and is left out; the others
  // stay. A folder that cannot be read gives no types and one problem.
  static GpuTypes Load(const std::string& folder, std::vector<Problem>& problems);

  // By exact name in any case; nullptr when unknown. The result lives as long as this object.
  const GpuType* Find(std::string_view provider, std::string_view name) const;

  // Of one provider, or of all with "", in name order.
  std::vector<const GpuType*> All(std::string_view provider = "") const;

 private:
  std::map<std::string, GpuType> types_;  // By "provider/name" in lower case.
};

}  // namespace catalog
