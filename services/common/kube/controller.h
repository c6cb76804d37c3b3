// Workers around a Reconciler: the part of an operator that is the same for every kind.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/informer.h"
#include "common/kube/work_queue.h"

namespace kube {

struct ReconcileResult {
  // Look again after so long although nothing may have changed: only for what sends no event.
  absl::Duration requeue_after = absl::ZeroDuration();
};

// Reads the world, computes what should be, writes the difference. Idempotent. Called by several
// workers, never twice at once for one key.
//
// An error is retried with back-off, but kInvalidArgument and kFailedPrecondition wait until the
// object changes.
class Reconciler {
 public:
  virtual ~Reconciler() = default;
  virtual absl::StatusOr<ReconcileResult> Reconcile(const ObjectKey& key) = 0;
};

struct ControllerOptions {
  std::string name;  // For logs and metrics: "workspace", "nodeclaim".
  int workers = 4;
  absl::Duration retry_initial = absl::Milliseconds(5);
  absl::Duration retry_max = absl::Minutes(5);
  // A reconcile that takes longer is counted and logged; its calls have deadlines of their own.
  absl::Duration reconcile_timeout = absl::Seconds(30);
  metrics::Registry* registry = nullptr;
  // A reconcile starts only while this is true (the lease is ours). Optional.
  std::function<bool()> may_reconcile;
};

// Which keys an event queues.
using KeyMapper = std::function<std::vector<ObjectKey>(const InformerEvent&)>;

// Not movable; Watch() before Start().
class Controller {
 public:
  Controller(Reconciler& reconciler, ControllerOptions options,
             const base::Clock& clock = base::RealClock());
  ~Controller();  // Stop().

  // Queues the object itself, when its generation, labels, annotations, finalizers or deletion time
  // changed: the own status write never queues it again.
  void WatchSelf(Informer& informer);
  // Queues the controlling owner of `kind`.
  void WatchOwned(Informer& informer, const std::string& owner_kind);
  void WatchMapped(Informer& informer, KeyMapper mapper);

  // Starts the workers; they wait until all watched informers are synced.
  void Start();
  // No new keys; running reconciles are waited for.
  void Stop();

  // Instead of Start(): reconciles one key that is ready, on the caller's thread. False when there
  // is none, or when a watched informer is not synced yet.
  bool RunOne();

  WorkQueue& queue();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kube
