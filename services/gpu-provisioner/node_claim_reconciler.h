// One NodeClaim → one agent pool → one Node, and back.

#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/random/random.h"
#include "absl/synchronization/mutex.h"

#include "common/base/clock.h"
#include "common/catalog/gpu_types.h"
#include "common/kube/client.h"
#include "common/kube/controller.h"
#include "common/metrics/metrics.h"
#include "gpu-provisioner/claim_events.h"
#include "gpu-provisioner/cloud_facts.h"
#include "gpu-provisioner/cluster_view.h"
#include "gpu-provisioner/next_step.h"
#include "gpu-provisioner/pool_body.h"
#include "gpu-provisioner/pool_snapshot.h"
#include "gpu-provisioner/progress.h"
#include "gpu-provisioner/write_queue.h"

namespace gpu_provisioner {

struct ReconcilerOptions {
  StepOptions step;
  PoolDefaults pool_defaults;
  int pools_max = 100;  // System pools included.
  bool zonal_first = false;
  bool wait_for_gpu_resource = true;
};

// Observes, asks NextLaunchStep() or NextDeletionStep(), does that one step, and reports on the
// claim. No step waits for Azure: answers come through Learn() and the snapshot, and queue the
// claim again.
//
// Thread-safe.
class NodeClaimReconciler final : public kube::Reconciler {
 public:
  struct Parts {  // All are borrowed.
    kube::Client& kube;
    const ClusterView& cluster;
    PoolSnapshot& snapshot;
    WriteQueue& writes;
    Quota& quota;
    Marks& marks;
    CloudFacts& facts;
    const catalog::GpuTypes& types;
    ProgressBoard& board;
    ClaimEvents& events;
    const base::Clock& clock;
    metrics::Registry* registry = nullptr;
  };

  NodeClaimReconciler(Parts parts, ReconcilerOptions options);

  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& key) override;

  // The answer to a job of the write queue.
  void OnResult(const PoolResult& result);

  // What would be tried for `request` now, best first.
  std::vector<Offering> Plan(const NodeRequest& request) const;

  // How many more pools the cluster may have.
  int PoolsLeft() const;

  // What is remembered of a pool.
  PoolMemory Memory(const std::string& pool) const;
  // Forgets pools without a claim and without a recent call.
  void ForgetIdle();

 private:
  struct Pass;  // What one Reconcile() works with.

  absl::StatusOr<kube::ReconcileResult> Launch(NodeRequest claim);
  absl::StatusOr<kube::ReconcileResult> Finalize(NodeRequest claim);

  // The one step.
  absl::Status Act(Pass& pass);
  absl::Status StartLaunch(Pass& pass);
  absl::Status StartRemoval(Pass& pass);
  void SubmitJob(const Pass& pass, PoolJobKind kind);
  absl::Status DropFinalizers(const Pass& pass);

  // The Node.
  absl::Status Register(Pass& pass);
  absl::StatusOr<bool> Drain(Pass& pass);
  absl::Status StampDeadline(Pass& pass);

  // The report.
  absl::Status Report(Pass& pass);
  void Publish(const Pass& pass, std::optional<Phase> phase = std::nullopt);
  void Tell(const Pass& pass);
  bool EndsWithItsFailure(const Pass& pass) const;

  PoolMemory Remember(const NodeRequest& claim);
  void Update(const std::string& pool, const std::function<void(PoolMemory&)>& change);
  void ObserveState(const PoolResult& result, const std::string& state);
  bool MayTimeOut();
  void Count(const std::string& name, const std::string& help, const metrics::Labels& labels = {});

  const Parts parts_;
  const ReconcilerOptions options_;

  mutable absl::Mutex mutex_;
  std::map<std::string, PoolMemory> memory_ ABSL_GUARDED_BY(mutex_);   // By name in lower case.
  std::map<std::string, Offering> launching_ ABSL_GUARDED_BY(mutex_);  // Of the PUT on its way.
  std::vector<absl::Duration> timeouts_ ABSL_GUARDED_BY(mutex_);       // Of the last minute.
  absl::BitGen random_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gpu_provisioner
