// What is left over on either side: pools without a claim, claims without a pool, Nodes without
// both.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/client.h"
#include "common/metrics/metrics.h"
#include "gpu-provisioner/claim_events.h"
#include "gpu-provisioner/cluster_view.h"
#include "gpu-provisioner/node_claim_reconciler.h"
#include "gpu-provisioner/pool_snapshot.h"
#include "gpu-provisioner/write_queue.h"

namespace gpu_provisioner {

// Acts only on what two complete LISTs at least a minute apart agree on, and never after a failed
// read. One thread calls RunOnce(), every few seconds.
class GarbageCollector {
 public:
  struct Parts {  // All are borrowed.
    kube::Client& kube;
    const ClusterView& cluster;
    PoolSnapshot& snapshot;
    WriteQueue& writes;
    NodeClaimReconciler& reconciler;
    ClaimEvents& events;
    const base::Clock& clock;
    metrics::Registry* registry = nullptr;
  };
  struct Options {
    std::string location;
    bool collect_untagged_pools = false;
  };

  GarbageCollector(Parts parts, Options options) : parts_(parts), options_(std::move(options)) {}

  void RunOnce();

 private:
  struct Sight {
    absl::Duration first_list;  // When the first LIST that showed it began.
    bool told = false;
  };
  using Sights = std::map<std::string, Sight>;

  // True when `key` was seen so by a LIST at least a minute before `listed`.
  static bool SeenTwice(Sights& sights, const std::string& key, absl::Duration listed);

  void CollectPools(const PoolView& view, const std::vector<kube::Object>& claims);
  void CollectClaims(const PoolView& view, const std::vector<kube::Object>& claims,
                     const std::vector<kube::Object>& nodes);
  void CollectNodes(const PoolView& view, const std::vector<kube::Object>& claims,
                    const std::vector<kube::Object>& nodes);

  const Parts parts_;
  const Options options_;
  Sights orphan_pools_;
  Sights lost_claims_;
  Sights orphan_nodes_;
};

}  // namespace gpu_provisioner
