// The agent pool that a claim asks for. Pure.

#pragma once

#include <map>
#include <string>

#include "gpu-provisioner/arm/agent_pool.h"
#include "gpu-provisioner/node_claim.h"
#include "gpu-provisioner/offerings.h"

namespace gpu_provisioner {

struct PoolDefaults {
  std::string subnet_id;                    // Unless the claim names one.
  std::map<std::string, std::string> tags;  // Besides the marks.
};

AgentPoolSpec PoolSpecOf(const NodeRequest& claim, const Offering& offering,
                         const PoolDefaults& defaults);

// What our label kaito.sh/creation-timestamp says: UTC, 2006-01-02T15-04-05Z.
std::string CreationStamp(absl::Time created);

// Whether `pool` is `claim`'s: by the UID tag; a pool of the original, which has none, by name and
// creation label together.
bool IsPoolOf(const AgentPool& pool, const NodeRequest& claim);

// What the claim's own labels should say of the offering in use, so that kubectl's columns show it.
std::map<std::string, std::string> ClaimLabelsOf(const Offering& offering,
                                                 std::string_view location);

}  // namespace gpu_provisioner
