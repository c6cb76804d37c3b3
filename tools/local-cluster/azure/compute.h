// Azure Compute: which sizes there are, how many cores of them, and where there is room.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

#include "common/catalog/gpu_types.h"
#include "common/net/http.h"

namespace local_cluster::azure {

// Not thread-safe.
class Compute {
 public:
  Compute(catalog::GpuTypes types, std::string location, int family_cores, int region_cores);

  const catalog::GpuType* FindSize(std::string_view size) const;

  // nullopt: taken from the quota; else Azure's refusal.
  std::optional<net::Response> Take(const catalog::GpuType& type, bool spot);
  void GiveBack(const catalog::GpuType& type, bool spot);

  // Whether a machine of the size can be had in `zone` ("" regional); takes one if so.
  bool Allocate(std::string_view size, const std::string& zone);
  void Deallocate(std::string_view size, const std::string& zone);

  void SetQuota(const std::string& family, std::optional<int64_t> limit,
                std::optional<int64_t> used);
  void SetCapacity(std::string_view size, const std::string& zone, int64_t free);

  net::Response Usages() const;
  net::Response Skus() const;

 private:
  struct Quota {
    int64_t limit = 0;
    int64_t used = 0;
  };
  Quota& Family(const std::string& name);
  std::optional<net::Response> Refuse(const std::string& name, std::string_view shown,
                                      int64_t cores);

  const catalog::GpuTypes types_;
  const std::string location_;
  const int family_cores_;
  std::map<std::string, Quota> quotas_;                              // By lower case.
  std::map<std::string, std::string> spelling_;                      // Lower case → Azure's.
  std::map<std::pair<std::string, std::string>, int64_t> capacity_;  // Absent: endless.
};

}  // namespace local_cluster::azure
