#include "common/kube/controller.h"

#include <exception>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"

#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/metrics/metrics.h"

namespace kube {
namespace {

constexpr absl::Duration kLookForLease = absl::Milliseconds(100);

// controller_runtime_* as dashboards of controller-runtime read them. Nothing without a registry.
class ControllerMetrics {
 public:
  ControllerMetrics(const ControllerOptions& options)  // NOLINT(google-explicit-constructor)
      : registry_(options.registry), labels_{{"controller", options.name}} {
    if (registry_ == nullptr) return;
    Gauge("controller_runtime_max_concurrent_reconciles", "Workers.").Set(options.workers);
    Gauge("controller_runtime_active_workers", "Workers that reconcile now.").Set(0);
    for (const char* result : {"success", "error", "requeue", "requeue_after"}) Count(result, 0);
    for (const char* name : {"errors", "panics", "timeouts"}) CountKind(name, 0);
    Terminal(0);
  }

  void Active(double by) {
    if (registry_ == nullptr) return;
    Gauge("controller_runtime_active_workers", "Workers that reconcile now.").Add(by);
  }
  void Count(const std::string& result, double by = 1) {
    if (registry_ == nullptr) return;
    metrics::Labels labels = labels_;
    labels["result"] = result;
    registry_->GetCounter("controller_runtime_reconcile_total", "Reconciles by result.", labels)
        .Add(by);
  }
  void CountKind(const std::string& kind, double by = 1) {
    if (registry_ == nullptr) return;
    registry_
        ->GetCounter("controller_runtime_reconcile_" + kind + "_total", "Reconciles with " + kind,
                     labels_)
        .Add(by);
  }
  void Terminal(double by = 1) {
    if (registry_ == nullptr) return;
    registry_
        ->GetCounter("controller_runtime_terminal_reconcile_errors_total",
                     "Errors that are not retried.", labels_)
        .Add(by);
  }
  void Took(absl::Duration duration) {
    if (registry_ == nullptr) return;
    registry_
        ->GetHistogram("controller_runtime_reconcile_time_seconds", "Duration of reconciles.",
                       {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60},
                       labels_)
        .Observe(absl::ToDoubleSeconds(duration));
  }

 private:
  metrics::Gauge& Gauge(const std::string& name, const std::string& help) {
    return registry_->GetGauge(name, help, labels_);
  }

  metrics::Registry* registry_;
  metrics::Labels labels_;
};

bool IsTerminal(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status);
}

QueuePriority PriorityOf(const InformerEvent& event) {
  return event.initial || event.change == Change::kResync ? QueuePriority::kBackground
                                                          : QueuePriority::kFresh;
}

// What of an object is the reconciler's input; its status is the reconciler's own output.
bool InputChanged(const Object& before, const Object& after) {
  return before.generation() != after.generation() || before.labels() != after.labels() ||
         before.annotations() != after.annotations() || before.finalizers() != after.finalizers() ||
         before.being_deleted() != after.being_deleted() || before.uid() != after.uid();
}

}  // namespace

struct Controller::Impl {
  Impl(Reconciler& the_reconciler, ControllerOptions controller_options,
       const base::Clock& the_clock)
      : reconciler(the_reconciler),
        options(std::move(controller_options)),
        clock(the_clock),
        queue({.name = options.name,
               .retry_initial = options.retry_initial,
               .retry_max = options.retry_max,
               .registry = options.registry},
              clock),
        figures(options) {}

  bool Synced() const;
  bool MayReconcile() const { return !options.may_reconcile || options.may_reconcile(); }
  void AwaitLease(const std::stop_token& stop);
  void Work(const std::stop_token& stop);
  void Process(const ObjectKey& key);
  absl::StatusOr<ReconcileResult> Reconcile(const ObjectKey& key);
  void Conclude(const ObjectKey& key, const absl::StatusOr<ReconcileResult>& result);

  Reconciler& reconciler;
  const ControllerOptions options;
  const base::Clock& clock;
  WorkQueue queue;
  ControllerMetrics figures;
  std::vector<Informer*> informers;
  absl::Mutex mutex;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::vector<std::jthread> workers;
};

bool Controller::Impl::Synced() const {
  for (const Informer* informer : informers) {
    if (!informer->synced()) return false;
  }
  return true;
}

absl::StatusOr<ReconcileResult> Controller::Impl::Reconcile(const ObjectKey& key) {
  try {
    return reconciler.Reconcile(key);
  } catch (const std::exception& error) {
    figures.CountKind("panics");
    return absl::InternalError(absl::StrFormat("a library threw: %s", error.what()));
  }
}

void Controller::Impl::Conclude(const ObjectKey& key,
                                const absl::StatusOr<ReconcileResult>& result) {
  if (result.ok()) {
    queue.Forget(key);
    if (result->requeue_after > absl::ZeroDuration()) {
      figures.Count("requeue_after");
      queue.AddAfter(key, result->requeue_after);
    } else {
      figures.Count("success");
    }
    return;
  }
  figures.Count("error");
  figures.CountKind("errors");
  if (IsTerminal(result.status())) {
    figures.Terminal();
    queue.Forget(key);
    base::LogError(
        "reconcile failed, waiting for a change",
        {{"controller", options.name}, {"key", key.ToString()}, {"error", result.status()}});
    return;
  }
  // A conflict only says that our picture is behind; the next try reads the new one.
  if (absl::IsAborted(result.status())) {
    base::LogDebug(
        "reconcile met a conflict",
        {{"controller", options.name}, {"key", key.ToString()}, {"error", result.status()}});
  } else {
    base::LogError(
        "reconcile failed",
        {{"controller", options.name}, {"key", key.ToString()}, {"error", result.status()}});
  }
  queue.AddRateLimited(key);
}

void Controller::Impl::Process(const ObjectKey& key) {
  if (!MayReconcile()) {  // Lost just now; the key stays, should the lease come back.
    queue.AddAfter(key, kLookForLease);
    queue.Done(key);
    return;
  }
  figures.Active(1);
  const absl::Duration begin = clock.Monotonic();
  const absl::StatusOr<ReconcileResult> result = Reconcile(key);
  const absl::Duration took = clock.Monotonic() - begin;
  figures.Active(-1);
  figures.Took(took);
  if (took > options.reconcile_timeout) {
    figures.CountKind("timeouts");
    base::LogWarning("reconcile took too long",
                     {{"controller", options.name}, {"key", key.ToString()}, {"duration", took}});
  }
  Conclude(key, result);
  queue.Done(key);
}

// Followers leave their keys in the queue, where they are when the lease comes.
void Controller::Impl::AwaitLease(const std::stop_token& stop) {
  while (!stop.stop_requested() && !MayReconcile()) {
    absl::MutexLock lock(&mutex);
    clock.AwaitUntil(mutex, absl::Condition(&stopping), clock.Monotonic() + kLookForLease);
  }
}

void Controller::Impl::Work(const std::stop_token& stop) {
  for (Informer* informer : informers) {
    while (!stop.stop_requested() && !informer->AwaitSync(absl::Milliseconds(100))) {
    }
  }
  while (true) {
    AwaitLease(stop);
    const std::optional<ObjectKey> key = queue.Get();
    if (!key) return;
    if (stop.stop_requested()) {
      queue.Done(*key);  // Shutting down: what waits is found again by the next start's list.
      continue;
    }
    Process(*key);
  }
}

Controller::Controller(Reconciler& reconciler, ControllerOptions options, const base::Clock& clock)
    : impl_(std::make_unique<Impl>(reconciler, std::move(options), clock)) {}

Controller::~Controller() { Stop(); }

void Controller::WatchSelf(Informer& informer) {
  impl_->informers.push_back(&informer);
  informer.AddHandler([impl = impl_.get()](const InformerEvent& event) {
    if (event.change == Change::kUpdated && !InputChanged(event.before, event.object)) return;
    impl->queue.Add(event.object.key(), PriorityOf(event));
  });
}

void Controller::WatchOwned(Informer& informer, const std::string& owner_kind) {
  WatchMapped(informer, [owner_kind](const InformerEvent& event) -> std::vector<ObjectKey> {
    std::vector<ObjectKey> owners;
    for (const Object* object : {&event.object, &event.before}) {
      const std::optional<OwnerReference> owner = object->controller();
      if (!owner || owner->kind != owner_kind) continue;
      ObjectKey key{std::string(object->namespace_name()), owner->name};
      if (owners.empty() || owners.front() != key) owners.push_back(std::move(key));
    }
    return owners;
  });
}

void Controller::WatchMapped(Informer& informer, KeyMapper mapper) {
  impl_->informers.push_back(&informer);
  informer.AddHandler([impl = impl_.get(), mapper = std::move(mapper)](const InformerEvent& event) {
    for (const ObjectKey& key : mapper(event)) impl->queue.Add(key, PriorityOf(event));
  });
}

void Controller::Start() {
  for (int i = 0; i < impl_->options.workers; ++i) {
    impl_->workers.push_back(base::StartThread(
        "reconcile", [impl = impl_.get()](const std::stop_token& stop) { impl->Work(stop); }));
  }
}

void Controller::Stop() {
  {
    absl::MutexLock lock(&impl_->mutex);
    impl_->stopping = true;
  }
  for (std::jthread& worker : impl_->workers) worker.request_stop();
  impl_->queue.ShutDown();
  impl_->workers.clear();  // Joins.
}

bool Controller::RunOne() {
  if (!impl_->Synced() || !impl_->MayReconcile()) return false;
  const std::optional<ObjectKey> key = impl_->queue.TryGet();
  if (!key) return false;
  impl_->Process(*key);
  return true;
}

WorkQueue& Controller::queue() { return impl_->queue; }

}  // namespace kube
