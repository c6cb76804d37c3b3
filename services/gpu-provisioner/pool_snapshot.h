// What Azure has, as one picture that all reconciles share.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "gpu-provisioner/arm/agent_pool_client.h"

namespace gpu_provisioner {

// Immutable.
struct PoolView {
  std::map<std::string, AgentPool> pools;  // By name in lower case.
  // When the last complete LIST began, monotonic; minus infinity before the first.
  absl::Duration listed = -absl::InfiniteDuration();
  ArmFailure failure;  // Of the last LIST, if it failed; `pools` is then the last known state.
  bool cluster_gone = false;  // Azure does not know the cluster: nothing may be deleted.

  const AgentPool* Find(std::string_view name) const;
  // A complete LIST that began after `since` does not have it.
  bool AbsentSince(std::string_view name, absl::Duration since) const;
};

struct PoolSnapshotOptions {
  absl::Duration interval = absl::Seconds(5);  // While anything moves.
  absl::Duration interval_idle = absl::Seconds(60);
  // After a write of our own LISTs begin at this interval and double up to `interval`. Zero: never;
  // Azure takes minutes, a cloud on this machine milliseconds.
  absl::Duration interval_fast = absl::ZeroDuration();
};

// One thread LISTs; everybody else reads. Thread-safe.
class PoolSnapshot {
 public:
  // `changed` hears of each pool whose state changed, by name in lower case, on the thread that
  // learned of it and without a lock held. Borrows `client` and `clock`.
  PoolSnapshot(AgentPoolClient& client, PoolSnapshotOptions options, const base::Clock& clock,
               std::function<void(const std::string&)> changed);
  ~PoolSnapshot();  // Stop().

  std::shared_ptr<const PoolView> Current() const;

  // One LIST, now. A failed or implausible one changes nothing but `failure`.
  void Poll();

  // What another answer of ARM said of one pool at `when`; a LIST that began earlier does not undo
  // it. Without a pool: it is gone.
  void Observe(const std::string& name, std::optional<AgentPool> pool, absl::Duration when);

  // A write was made: look again soon.
  void Hurry();
  // Something waits for Azure, or nothing does.
  void SetMoving(bool moving);

  // How long until the next LIST is due; zero: now. What Start()'s thread waits for.
  absl::Duration UntilDue() const;

  void Start();
  void Stop();

 private:
  struct Observation {
    std::optional<AgentPool> pool;
    absl::Duration when;
  };

  absl::Duration Interval() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool WakeUp() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return woken_; }
  std::vector<std::string> Apply(const PoolList& list, absl::Duration started)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Publish(PoolView view) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  AgentPoolClient& client_;
  const PoolSnapshotOptions options_;
  const base::Clock& clock_;
  const std::function<void(const std::string&)> changed_;

  mutable absl::Mutex mutex_;
  std::shared_ptr<const PoolView> view_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Observation> observations_ ABSL_GUARDED_BY(mutex_);  // Newer than a LIST.
  absl::Duration last_poll_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  absl::Duration fast_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();  // Zero: not hurrying.
  absl::Duration paused_until_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  bool moving_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

}  // namespace gpu_provisioner
