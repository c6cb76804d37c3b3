// What the parts of one reconcile share; private to NodeClaimReconciler.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gpu-provisioner/node_claim_reconciler.h"

namespace gpu_provisioner {

struct NodeClaimReconciler::Pass {
  NodeRequest claim;
  PoolMemory memory;
  std::shared_ptr<const PoolView> view;
  std::vector<kube::Object> nodes;
  std::vector<Offering> offerings;
  absl::Duration now;
  absl::Time wall;

  Step step;
  std::vector<NamedVerdict> verdicts;  // To be written.
  std::optional<kube::Object> node;    // As registered.
  std::vector<std::string> drain_blockers;
  bool clear_instance = false;  // The instance is being replaced under this claim.
};

// The claim's status as it should be: conditions, ids, what the Node offers. Pure.
boost::json::value ClaimStatus(const NodeRequest& claim, const std::vector<NamedVerdict>& verdicts,
                               const Step& step, const kube::Object* node,
                               const catalog::GpuTypes& types, bool clear_instance, absl::Time now);

// The conditions that `object` has.
std::vector<NamedVerdict> VerdictsOf(const kube::Object& object);

}  // namespace gpu_provisioner
