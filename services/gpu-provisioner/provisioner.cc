#include "gpu-provisioner/provisioner.h"

#include "common/base/thread.h"

namespace gpu_provisioner {
namespace {

constexpr absl::Duration kHousekeepingEvery = absl::Seconds(5);

}  // namespace

Provisioner::Provisioner(const ProvisionerOptions& options, HttpSender& sender, TokenCache& tokens,
                         kube::Client& kube, const ClusterView& cluster,
                         const catalog::GpuTypes& types, kube::EventRecorder* recorder,
                         metrics::Registry* registry, const base::Clock& clock,
                         std::function<void(const std::string&)> wake)
    : types_(types),
      clock_(clock),
      buckets_(clock),
      arm_(sender, tokens, buckets_, clock, {.sleep = options.sleep, .registry = registry}),
      pools_(arm_, options.cluster),
      events_(recorder, clock),
      board_(clock) {
  snapshot_ = std::make_unique<PoolSnapshot>(pools_, options.snapshot, clock, wake);
  writes_ = std::make_unique<WriteQueue>(
      pools_, WriteQueueOptions{.puts_max = options.parallel_puts, .may_write = options.may_write},
      clock, [this](const PoolResult& result) { reconciler_->OnResult(result); }, wake);
  facts_ = std::make_unique<CloudFacts>(
      pools_, quota_, marks_, clock, registry,
      CloudFacts::Hooks{
          .quota_awaited = [this] { return !board_.InPhase(Phase::kWaitingForQuota).empty(); },
          .quota_read =
              [this, wake] {
                for (const std::string& claim : board_.InPhase(Phase::kWaitingForQuota))
                  wake(claim);
              },
          .quota_unreadable =
              [this, &cluster](const ArmFailure& failure) {
                for (const std::string& name : board_.InPhase(Phase::kWaitingForQuota)) {
                  const auto claim = cluster.Claim(name);
                  if (claim) events_.Warning(*claim, "QuotaUnreadable", failure.message);
                }
              }});
  reconciler_ =
      std::make_unique<NodeClaimReconciler>(NodeClaimReconciler::Parts{.kube = kube,
                                                                       .cluster = cluster,
                                                                       .snapshot = *snapshot_,
                                                                       .writes = *writes_,
                                                                       .quota = quota_,
                                                                       .marks = marks_,
                                                                       .facts = *facts_,
                                                                       .types = types,
                                                                       .board = board_,
                                                                       .events = events_,
                                                                       .clock = clock,
                                                                       .registry = registry},
                                            options.reconciler);
  collector_ = std::make_unique<GarbageCollector>(
      GarbageCollector::Parts{.kube = kube,
                              .cluster = cluster,
                              .snapshot = *snapshot_,
                              .writes = *writes_,
                              .reconciler = *reconciler_,
                              .events = events_,
                              .clock = clock,
                              .registry = registry},
      GarbageCollector::Options{.location = options.reconciler.step.location,
                                .collect_untagged_pools = options.collect_untagged_pools});
}

Provisioner::~Provisioner() { Stop(); }

void Provisioner::Housekeep() {
  facts_->RunOnce();
  collector_->RunOnce();
}

void Provisioner::Tick() {
  while (writes_->RunOne()) {
  }
  if (snapshot_->UntilDue() <= absl::ZeroDuration()) snapshot_->Poll();
  Housekeep();
  while (writes_->RunOne()) {
  }
}

void Provisioner::Start() {
  snapshot_->Start();
  writes_->Start();
  housekeeper_ = base::StartThread("housekeeper", [this](std::stop_token stop) {
    const std::stop_callback wake(stop, [this] {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    });
    while (!stop.stop_requested()) {
      Housekeep();
      absl::MutexLock lock(&mutex_);
      clock_.AwaitUntil(mutex_, absl::Condition(&stopping_),
                        clock_.Monotonic() + kHousekeepingEvery);
    }
  });
}

void Provisioner::Stop() {
  board_.Shutdown();
  if (housekeeper_.joinable()) {
    housekeeper_.request_stop();
    housekeeper_.join();
  }
  snapshot_->Stop();
  writes_->Stop();
}

}  // namespace gpu_provisioner
