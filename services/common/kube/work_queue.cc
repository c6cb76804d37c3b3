#include "common/kube/work_queue.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include "absl/random/random.h"

#include "common/base/check.h"
#include "common/kube/rate_limiter.h"
#include "common/metrics/metrics.h"

namespace kube {
namespace {

// How long an idle worker sleeps before it brings the gauges of running work up to date.
constexpr absl::Duration kRefresh = absl::Seconds(5);

std::string_view PriorityName(QueuePriority priority) {
  return priority == QueuePriority::kFresh ? "fresh" : "background";
}

// workqueue_* as controller-runtime names them. All null without a registry.
class QueueMetrics {
 public:
  explicit QueueMetrics(const WorkQueueOptions& options) : registry_(options.registry) {
    if (registry_ == nullptr) return;
    labels_ = {{"name", options.name}, {"controller", options.name}};
    for (const QueuePriority priority : {QueuePriority::kFresh, QueuePriority::kBackground}) {
      metrics::Labels labels = labels_;
      labels["priority"] = PriorityName(priority);
      depth_[static_cast<int>(priority)] =
          &registry_->GetGauge("workqueue_depth", "Keys that are ready.", labels);
    }
    adds_ = &registry_->GetCounter("workqueue_adds_total", "Keys added.", labels_);
    retries_ = &registry_->GetCounter("workqueue_retries_total", "Keys added again after an error.",
                                      labels_);
    queued_ = &registry_->GetHistogram("workqueue_queue_duration_seconds",
                                       "How long keys waited for a worker.",
                                       metrics::DurationBuckets(), labels_);
    worked_ =
        &registry_->GetHistogram("workqueue_work_duration_seconds", "How long a worker held a key.",
                                 metrics::DurationBuckets(), labels_);
    unfinished_ = &registry_->GetGauge("workqueue_unfinished_work_seconds",
                                       "Sum of the ages of keys that workers hold.", labels_);
    longest_ = &registry_->GetGauge("workqueue_longest_running_processor_seconds",
                                    "Age of the key that is held the longest.", labels_);
  }

  void Depth(QueuePriority priority, size_t depth) {
    if (registry_ != nullptr) depth_[static_cast<int>(priority)]->Set(static_cast<double>(depth));
  }
  void Added() {
    if (registry_ != nullptr) adds_->Add();
  }
  void Retried() {
    if (registry_ != nullptr) retries_->Add();
  }
  void Queued(absl::Duration duration) {
    if (registry_ != nullptr) queued_->Observe(absl::ToDoubleSeconds(duration));
  }
  void Worked(absl::Duration duration) {
    if (registry_ != nullptr) worked_->Observe(absl::ToDoubleSeconds(duration));
  }
  void Running(const std::map<ObjectKey, absl::Duration>& since, absl::Duration now) {
    if (registry_ == nullptr) return;
    absl::Duration sum;
    absl::Duration longest;
    for (const auto& [key, begin] : since) {
      sum += now - begin;
      longest = std::max(longest, now - begin);
    }
    unfinished_->Set(absl::ToDoubleSeconds(sum));
    longest_->Set(absl::ToDoubleSeconds(longest));
  }

 private:
  metrics::Registry* registry_;
  metrics::Labels labels_;
  metrics::Gauge* depth_[2] = {};
  metrics::Counter* adds_ = nullptr;
  metrics::Counter* retries_ = nullptr;
  metrics::Histogram* queued_ = nullptr;
  metrics::Histogram* worked_ = nullptr;
  metrics::Gauge* unfinished_ = nullptr;
  metrics::Gauge* longest_ = nullptr;
};

}  // namespace

struct WorkQueue::Impl {
  Impl(WorkQueueOptions queue_options, const base::Clock& queue_clock)
      : options(std::move(queue_options)),
        clock(queue_clock),
        retries(options.retries_per_second, options.retry_burst),
        figures(options) {}

  // A key that waits to be handed out.
  struct Waiting {
    QueuePriority priority;
    absl::Duration since;
  };

  void AddLocked(const ObjectKey& key, QueuePriority priority) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void Enqueue(const ObjectKey& key, QueuePriority priority) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void AddAfterLocked(const ObjectKey& key, absl::Duration delay)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void MoveDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  std::optional<ObjectKey> Pop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  std::deque<ObjectKey>& Ready(QueuePriority priority) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return priority == QueuePriority::kFresh ? fresh : background;
  }
  bool HasReady() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return !fresh.empty() || !background.empty();
  }

  const WorkQueueOptions options;
  const base::Clock& clock;
  mutable absl::Mutex mutex;
  std::deque<ObjectKey> fresh ABSL_GUARDED_BY(mutex);
  std::deque<ObjectKey> background ABSL_GUARDED_BY(mutex);
  std::map<ObjectKey, Waiting> waiting ABSL_GUARDED_BY(mutex);            // In fresh or background.
  std::map<ObjectKey, QueuePriority> marked ABSL_GUARDED_BY(mutex);       // Added while held.
  std::map<ObjectKey, absl::Duration> processing ABSL_GUARDED_BY(mutex);  // Held, since when.
  std::map<ObjectKey, absl::Duration> delayed ABSL_GUARDED_BY(mutex);     // Until when.
  std::set<std::pair<absl::Duration, ObjectKey>> due ABSL_GUARDED_BY(mutex);  // The same by time.
  std::map<ObjectKey, int> failures ABSL_GUARDED_BY(mutex);
  TokenBucket retries ABSL_GUARDED_BY(mutex);
  QueueMetrics figures ABSL_GUARDED_BY(mutex);
  int64_t wake_ups ABSL_GUARDED_BY(mutex) = 0;  // Changes when sleepers must look again.
  bool shut_down ABSL_GUARDED_BY(mutex) = false;
};

void WorkQueue::Impl::Enqueue(const ObjectKey& key, QueuePriority priority) {
  Ready(priority).push_back(key);
  waiting[key] = {.priority = priority, .since = clock.Monotonic()};
  figures.Depth(priority, Ready(priority).size());
}

void WorkQueue::Impl::AddLocked(const ObjectKey& key, QueuePriority priority) {
  if (shut_down) return;
  if (processing.contains(key)) {
    const auto [at, added] = marked.emplace(key, priority);
    if (!added) at->second = std::min(at->second, priority);
    if (added) figures.Added();
    return;
  }
  const auto found = waiting.find(key);
  if (found == waiting.end()) {
    figures.Added();
    Enqueue(key, priority);
  } else if (priority < found->second.priority) {
    std::erase(background, key);
    const absl::Duration since = found->second.since;
    Enqueue(key, priority);
    waiting[key].since = since;
    figures.Depth(QueuePriority::kBackground, background.size());
  }
}

void WorkQueue::Impl::AddAfterLocked(const ObjectKey& key, absl::Duration delay) {
  if (shut_down) return;
  if (delay <= absl::ZeroDuration()) return AddLocked(key, QueuePriority::kFresh);
  const absl::Duration when = clock.Monotonic() + delay;
  const auto [at, added] = delayed.emplace(key, when);
  if (!added) {
    if (at->second <= when) return;
    due.erase({at->second, key});
    at->second = when;
  }
  due.emplace(when, key);
  ++wake_ups;
}

void WorkQueue::Impl::MoveDue() {
  const absl::Duration now = clock.Monotonic();
  while (!due.empty() && due.begin()->first <= now) {
    const ObjectKey key = due.begin()->second;
    due.erase(due.begin());
    delayed.erase(key);
    AddLocked(key, QueuePriority::kFresh);
  }
}

std::optional<ObjectKey> WorkQueue::Impl::Pop() {
  const QueuePriority priority = fresh.empty() ? QueuePriority::kBackground : QueuePriority::kFresh;
  std::deque<ObjectKey>& ready = Ready(priority);
  if (ready.empty()) return std::nullopt;
  ObjectKey key = std::move(ready.front());
  ready.pop_front();
  const absl::Duration now = clock.Monotonic();
  figures.Depth(priority, ready.size());
  figures.Queued(now - waiting[key].since);
  waiting.erase(key);
  processing[key] = now;
  return key;
}

WorkQueue::WorkQueue(WorkQueueOptions options, const base::Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(options), clock)) {}

WorkQueue::~WorkQueue() = default;

void WorkQueue::Add(const ObjectKey& key, QueuePriority priority) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->AddLocked(key, priority);
}

void WorkQueue::AddAfter(const ObjectKey& key, absl::Duration delay) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->AddAfterLocked(key, delay);
}

void WorkQueue::AddRateLimited(const ObjectKey& key) {
  absl::MutexLock lock(&impl_->mutex);
  if (impl_->shut_down) return;
  const int failures = impl_->failures[key]++;
  absl::Duration own = impl_->options.retry_max;
  if (failures < 40) {
    own = std::min(own, impl_->options.retry_initial * static_cast<double>(int64_t{1} << failures));
  }
  const absl::Duration turn = impl_->retries.Reserve(impl_->clock.Monotonic());
  impl_->figures.Retried();
  impl_->AddAfterLocked(key, std::max(own, turn));
}

void WorkQueue::Forget(const ObjectKey& key) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->failures.erase(key);
}

std::optional<ObjectKey> WorkQueue::Get() {
  Impl& impl = *impl_;
  absl::MutexLock lock(&impl.mutex);
  while (true) {
    impl.MoveDue();
    const absl::Duration now = impl.clock.Monotonic();
    impl.figures.Running(impl.processing, now);
    if (std::optional<ObjectKey> key = impl.Pop()) return key;
    if (impl.shut_down) return std::nullopt;

    absl::Duration deadline = impl.processing.empty() ? absl::InfiniteDuration() : now + kRefresh;
    if (!impl.due.empty()) deadline = std::min(deadline, impl.due.begin()->first);
    const int64_t wake_ups = impl.wake_ups;
    const auto changed = [&impl, wake_ups]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return impl.HasReady() || impl.shut_down || impl.wake_ups != wake_ups;
    };
    impl.clock.AwaitUntil(impl.mutex, absl::Condition(&changed), deadline);
  }
}

std::optional<ObjectKey> WorkQueue::TryGet() {
  absl::MutexLock lock(&impl_->mutex);
  impl_->MoveDue();
  return impl_->Pop();
}

std::optional<absl::Duration> WorkQueue::NextDue() const {
  absl::MutexLock lock(&impl_->mutex);
  if (impl_->due.empty()) return std::nullopt;
  return impl_->due.begin()->first;
}

void WorkQueue::Done(const ObjectKey& key) {
  absl::MutexLock lock(&impl_->mutex);
  const auto held = impl_->processing.find(key);
  CHECK(held != impl_->processing.end());
  const absl::Duration now = impl_->clock.Monotonic();
  impl_->figures.Worked(now - held->second);
  impl_->processing.erase(held);
  impl_->figures.Running(impl_->processing, now);
  if (const auto mark = impl_->marked.find(key); mark != impl_->marked.end()) {
    const QueuePriority priority = mark->second;
    impl_->marked.erase(mark);
    impl_->Enqueue(key, priority);
  }
}

void WorkQueue::ShutDown() {
  absl::MutexLock lock(&impl_->mutex);
  impl_->shut_down = true;
  impl_->delayed.clear();
  impl_->due.clear();
}

size_t WorkQueue::size() const {
  absl::MutexLock lock(&impl_->mutex);
  return impl_->fresh.size() + impl_->background.size();
}

}  // namespace kube
