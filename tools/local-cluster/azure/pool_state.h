// One pool and what happens to it; private to PoolCluster.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "boost/json.hpp"
#include "local-cluster/azure/pool_cluster.h"

namespace local_cluster::azure {

struct PoolCluster::Pool {
  std::string name;  // As its creator spelled it.
  boost::json::object properties;
  std::string state;
  int etag = 1;
  uint64_t generation =
      0;                   // Tasks of an earlier life, or of an operation that was overtaken, fade.
  std::string digits;      // Of its scale set.
  std::vector<int> nodes;  // Indexes that have joined.
  std::string operation;
  absl::Time created;
  bool counted = false;    // In the quota,
  bool allocated = false;  // and in the capacity.
  bool system = false;
  bool held = false;
  bool never_join = false;
  bool no_gpu = false;

  std::string Text(const char* key) const {
    const auto* const value = properties.if_contains(key);
    return value != nullptr && value->is_string() ? value->get_string().c_str() : "";
  }
  bool spot() const { return Text("scaleSetPriority") == "Spot"; }
  std::string zone() const {
    const auto* const zones = properties.if_contains("availabilityZones");
    if (zones == nullptr || !zones->is_array() || zones->get_array().empty()) return "";
    const auto& first = zones->get_array().front();
    return first.is_string() ? first.get_string().c_str() : "";
  }
  std::string uid() const {
    const auto* const tags = properties.if_contains("tags");
    if (tags == nullptr || !tags->is_object()) return "";
    const auto* const uid = tags->get_object().if_contains("karpenter.sh_nodeclaim-uid");
    return uid != nullptr && uid->is_string() ? uid->get_string().c_str() : "";
  }
  std::string NodeName(int index) const;
};

struct PoolCluster::RunningOperation {
  std::string target;  // Of its signed URL.
  std::string status = "InProgress";
  absl::Time start;
  absl::Time end;
  std::string error_code;
  std::string error_message;
};

// From one pool's birth to its end.
struct PoolCluster::Life {
  std::string name;
  std::string uid;
  uint64_t generation = 0;
  absl::Time from;
  absl::Time until = absl::InfiniteFuture();
  std::vector<std::pair<absl::Time, std::string>> states;
};

}  // namespace local_cluster::azure
