// Calls to ARM about single pools, off the reconcile workers, with a limit on how many run at once.

#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "gpu-provisioner/arm/agent_pool_client.h"

namespace gpu_provisioner {

enum class PoolJobKind { kPut, kDelete, kAbort, kGet, kMachines };

struct PoolJob {
  PoolJobKind kind = PoolJobKind::kGet;
  std::string pool;
  std::string claim_uid;  // Correlation; also whose PUT it is.
  std::string body;       // Of a PUT.
  std::string etag;       // If-Match.
  bool ignore_disruption_budget = false;
};

struct PoolResult {
  PoolJob job;
  int status = 0;
  ArmFailure failure;
  std::optional<AgentPool> pool;
  std::vector<Machine> machines;
  absl::Duration started;
  absl::Duration ended;
};

struct WriteQueueOptions {
  int puts_max = 10;  // At once; AKS mishandles some 20 parallel creates.
  int others_max = 10;
  size_t jobs_max = 10'000;
  // A write starts only while this holds: the lease is ours for a while yet.
  std::function<bool()> may_write;
};

// One job per pool at a time. Thread-safe.
class WriteQueue {
 public:
  // Both are called on the worker's thread, without a lock held: `done` while the pool still counts
  // as busy, so that what it stores is there before the next job; `settled` after that.
  WriteQueue(AgentPoolClient& client, WriteQueueOptions options, const base::Clock& clock,
             std::function<void(const PoolResult&)> done,
             std::function<void(const std::string& pool)> settled);
  ~WriteQueue();  // Stop().

  // False when the pool has a job, or the queue is full.
  bool Submit(PoolJob job);

  // A job for the pool waits or runs.
  bool Busy(std::string_view pool) const;

  // Runs the next job on the caller's thread; false if none waits. For tests without threads.
  bool RunOne();

  void Start();
  // Jobs that wait are dropped, running ones finish.
  void Stop();

 private:
  std::optional<PoolJob> TakeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool CanTake() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasSlot(PoolJobKind kind) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run(PoolJob job);
  PoolResult Execute(const PoolJob& job);

  AgentPoolClient& client_;
  const WriteQueueOptions options_;
  const base::Clock& clock_;
  const std::function<void(const PoolResult&)> done_;
  const std::function<void(const std::string&)> settled_;

  mutable absl::Mutex mutex_;
  std::deque<PoolJob> waiting_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> busy_ ABSL_GUARDED_BY(mutex_);  // Names in lower case.
  int puts_running_ ABSL_GUARDED_BY(mutex_) = 0;
  int others_running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

}  // namespace gpu_provisioner
