// The queue between the informers, which notice changes, and the reconcile workers.

#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/object_key.h"

namespace metrics {
class Registry;
}

namespace kube {

enum class QueuePriority { kFresh, kBackground };  // Background: initial lists and resyncs.

struct WorkQueueOptions {
  std::string name;  // For the metrics, where it is both `name` and `controller`.
  absl::Duration retry_initial = absl::Milliseconds(5);
  absl::Duration retry_max = absl::Minutes(5);
  double retries_per_second = 10;  // Of all keys together.
  int retry_burst = 100;
  metrics::Registry* registry = nullptr;
};

// A queue of object keys in which each key waits at most once and is held by at most one worker.
//
// Adding a key that a worker holds marks it, and Done() then queues it again. So a burst of events
// costs one reconcile, and no object is ever reconciled by two workers together.
//
// Thread-safe.
class WorkQueue {
 public:
  explicit WorkQueue(WorkQueueOptions options = {}, const base::Clock& clock = base::RealClock());
  ~WorkQueue();

  // Does nothing if `key` already waits, or after ShutDown(); but a key that waits in the
  // background moves to the front when it is added as fresh.
  void Add(const ObjectKey& key, QueuePriority priority = QueuePriority::kFresh);

  // Adds `key` after `delay`; of two times for one key the earlier wins.
  void AddAfter(const ObjectKey& key, absl::Duration delay);

  // Adds `key` after its back-off, which doubles with each call until Forget().
  void AddRateLimited(const ObjectKey& key);
  void Forget(const ObjectKey& key);

  // Blocks until a key is ready. Returns nullopt once the queue is shut down and empty.
  // Every key returned must be given back with Done().
  std::optional<ObjectKey> Get();

  // A key that is ready now, without waiting: for who drives the queue step by step.
  std::optional<ObjectKey> TryGet();

  // When the next delayed key is due, by the clock's Monotonic(); nullopt when none waits.
  std::optional<absl::Duration> NextDue() const;

  void Done(const ObjectKey& key);

  // Wakes all waiting workers. Keys already queued are still handed out; delayed ones are dropped.
  void ShutDown();

  // Keys that are ready; not the delayed ones.
  size_t size() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kube
