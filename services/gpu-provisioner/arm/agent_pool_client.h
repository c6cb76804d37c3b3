// The operations on agent pools, and what Compute says about sizes and quota.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gpu-provisioner/arm/agent_pool.h"
#include "gpu-provisioner/arm/arm_client.h"

namespace gpu_provisioner {

struct ClusterPath {
  std::string subscription_id;
  std::string resource_group;
  std::string cluster_name;
  std::string location;
  std::string arm_url;  // For the check of nextLink.
  std::string api_version = "2025-10-01";
};

struct PoolAnswer {
  int status = 0;
  ArmFailure failure;
  std::optional<AgentPool> pool;  // Present where a 2xx answer holds one.
};

struct PoolList {
  ArmFailure failure;  // Of the first call that failed; `pools` is then meaningless.
  std::vector<AgentPool> pools;
  // False when the pages ended at a link seen before or at the 50th page: absence proves nothing.
  bool complete = false;
};

struct Machine {
  std::string name;
  std::string resource_id;
};

// Limits of one quota family in cores.
struct QuotaUsage {
  int64_t limit = 0;
  int64_t used = 0;
};

// What the subscription may use in this location.
struct SkuFacts {
  std::string name;
  std::string family;
  std::vector<std::string> zones;  // "1"
  std::vector<std::string> restricted_zones;
  bool restricted = false;  // Not for this subscription or location at all.
  int64_t vcpus = 0;
};

// Thread-safe; calls block as ArmClient's do.
class AgentPoolClient {
 public:
  AgentPoolClient(ArmClient& arm, ClusterPath path) : arm_(arm), path_(std::move(path)) {}

  PoolAnswer Get(const std::string& name, const std::string& correlation);
  PoolList List();
  // Creates: If-None-Match: *. With `etag`: changes the pool that has it.
  PoolAnswer Put(const std::string& name, const std::string& body, const std::string& etag,
                 const std::string& correlation);
  // 202: accepted; 204: there was none.
  PoolAnswer Delete(const std::string& name, const std::string& etag, bool ignore_disruption_budget,
                    const std::string& correlation);
  PoolAnswer Abort(const std::string& name, const std::string& correlation);
  std::vector<Machine> Machines(const std::string& name, ArmFailure& failure);
  // By family in lower case; `cores` and `lowprioritycores` among them.
  std::map<std::string, QuotaUsage> Usages(ArmFailure& failure);
  // By name in lower case.
  std::map<std::string, SkuFacts> Skus(ArmFailure& failure);

  const Buckets& buckets() const { return arm_.buckets(); }

 private:
  std::string PoolTarget(const std::string& name, std::string_view suffix = "",
                         std::string_view query = "") const;
  // nullopt when the link leads to another host.
  std::optional<std::string> TargetOfLink(const std::string& link) const;

  ArmClient& arm_;
  const ClusterPath path_;
};

}  // namespace gpu_provisioner
