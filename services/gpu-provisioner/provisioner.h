// All parts of the provisioner, put together.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "common/base/clock.h"
#include "common/catalog/gpu_types.h"
#include "common/kube/client.h"
#include "common/kube/events.h"
#include "common/metrics/metrics.h"
#include "gpu-provisioner/arm/agent_pool_client.h"
#include "gpu-provisioner/arm/token_cache.h"
#include "gpu-provisioner/garbage_collector.h"
#include "gpu-provisioner/node_claim_reconciler.h"

namespace gpu_provisioner {

struct ProvisionerOptions {
  ClusterPath cluster;
  ReconcilerOptions reconciler;
  PoolSnapshotOptions snapshot;
  int parallel_puts = 10;
  bool collect_untagged_pools = false;
  // Writes to ARM start only while this holds.
  std::function<bool()> may_write;
  // How quick retries of reads wait; empty: really.
  std::function<void(absl::Duration)> sleep;
};

// Start() runs the threads; without it a test moves the parts by Tick().
class Provisioner {
 public:
  // All are borrowed; `registry` and `recorder` may be null. `wake` queues a claim by name.
  Provisioner(const ProvisionerOptions& options, HttpSender& sender, TokenCache& tokens,
              kube::Client& kube, const ClusterView& cluster, const catalog::GpuTypes& types,
              kube::EventRecorder* recorder, metrics::Registry* registry, const base::Clock& clock,
              std::function<void(const std::string&)> wake);
  ~Provisioner();  // Stop().

  NodeClaimReconciler& reconciler() { return *reconciler_; }
  ProgressBoard& board() { return board_; }
  PoolSnapshot& snapshot() { return *snapshot_; }
  CloudFacts& facts() { return *facts_; }
  const catalog::GpuTypes& types() const { return types_; }
  const base::Clock& clock() const { return clock_; }

  // Begins to talk to Azure: when this process leads.
  void Start();
  void Stop();

  // Without threads: runs what is due of calls, list, quota and collection.
  void Tick();

 private:
  void Housekeep();

  const catalog::GpuTypes& types_;
  const base::Clock& clock_;
  Buckets buckets_;
  ArmClient arm_;
  AgentPoolClient pools_;
  ClaimEvents events_;
  Quota quota_;
  Marks marks_;
  ProgressBoard board_;
  std::unique_ptr<PoolSnapshot> snapshot_;
  std::unique_ptr<WriteQueue> writes_;
  std::unique_ptr<CloudFacts> facts_;
  std::unique_ptr<NodeClaimReconciler> reconciler_;
  std::unique_ptr<GarbageCollector> collector_;

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread housekeeper_;
};

}  // namespace gpu_provisioner
