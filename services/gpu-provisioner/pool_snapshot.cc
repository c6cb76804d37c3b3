#include "gpu-provisioner/pool_snapshot.h"

#include <algorithm>
#include <set>

#include "common/base/log.h"
#include "common/base/thread.h"

namespace gpu_provisioner {
namespace {

bool Moves(const AgentPool& pool) { return !pool.succeeded() && !pool.failed(); }

}  // namespace

const AgentPool* PoolView::Find(std::string_view name) const {
  const auto pool = pools.find(Folded(name));
  return pool == pools.end() ? nullptr : &pool->second;
}

bool PoolView::AbsentSince(std::string_view name, absl::Duration since) const {
  return Find(name) == nullptr && listed > since && !cluster_gone;
}

PoolSnapshot::PoolSnapshot(AgentPoolClient& client, PoolSnapshotOptions options,
                           const base::Clock& clock,
                           std::function<void(const std::string&)> changed)
    : client_(client),
      options_(options),
      clock_(clock),
      changed_(std::move(changed)),
      view_(std::make_shared<PoolView>()) {}

PoolSnapshot::~PoolSnapshot() { Stop(); }

std::shared_ptr<const PoolView> PoolSnapshot::Current() const {
  absl::MutexLock lock(&mutex_);
  return view_;
}

void PoolSnapshot::Publish(PoolView view) {
  view_ = std::make_shared<const PoolView>(std::move(view));
}

void PoolSnapshot::Poll() {
  const absl::Duration started = clock_.Monotonic();
  const PoolList list = client_.List();
  std::vector<std::string> changed;
  {
    absl::MutexLock lock(&mutex_);
    last_poll_ = started;
    woken_ = false;
    if (fast_ > absl::ZeroDuration()) {
      fast_ *= 2;
      if (fast_ >= options_.interval) fast_ = absl::ZeroDuration();
    }
    changed = Apply(list, started);
  }
  for (const std::string& name : changed) changed_(name);
}

std::vector<std::string> PoolSnapshot::Apply(const PoolList& list, absl::Duration started) {
  PoolView view = *view_;
  const bool implausible = list.failure.ok() && list.complete && list.pools.empty();
  if (!list.failure.ok() || implausible) {
    const ArmFailure failure =
        implausible ? UnknownOutcome("a list without any pool is implausible") : list.failure;
    if (view.failure.error_class != failure.error_class) {
      base::LogWarning(
          "agent pools could not be listed",
          {{"class", ErrorClassName(failure.error_class)}, {"error", failure.message}});
    }
    view.cluster_gone = failure.error_class == ErrorClass::kClusterGone;
    view.failure = failure;
    if (failure.retry_after > absl::ZeroDuration()) {
      paused_until_ = clock_.Monotonic() + failure.retry_after;
    }
    Publish(std::move(view));
    return {};
  }
  std::map<std::string, AgentPool> pools;
  for (const AgentPool& pool : list.pools) pools[Folded(pool.name)] = pool;
  // An incomplete list says nothing about what it leaves out.
  if (!list.complete) pools.insert(view.pools.begin(), view.pools.end());
  std::erase_if(observations_, [&](const auto& entry) { return entry.second.when <= started; });
  for (const auto& [name, observation] : observations_) {
    if (observation.pool) {
      pools[name] = *observation.pool;
    } else {
      pools.erase(name);
    }
  }
  std::vector<std::string> changed;
  for (const auto& [name, pool] : pools) {
    const auto before = view.pools.find(name);
    if (before == view.pools.end() || before->second != pool) changed.push_back(name);
  }
  for (const auto& [name, pool] : view.pools) {
    if (!pools.contains(name)) changed.push_back(name);
  }
  view.pools = std::move(pools);
  view.failure = {};
  view.cluster_gone = false;
  if (list.complete) view.listed = started;
  Publish(std::move(view));
  return changed;
}

void PoolSnapshot::Observe(const std::string& name, std::optional<AgentPool> pool,
                           absl::Duration when) {
  const std::string key = Folded(name);
  {
    absl::MutexLock lock(&mutex_);
    const auto known = observations_.find(key);
    if (known != observations_.end() && known->second.when > when) return;
    PoolView view = *view_;
    if (pool) {
      view.pools[key] = *pool;
    } else {
      view.pools.erase(key);
    }
    observations_[key] = {std::move(pool), when};
    Publish(std::move(view));
  }
  changed_(key);
}

void PoolSnapshot::Hurry() {
  absl::MutexLock lock(&mutex_);
  fast_ = options_.interval_fast;
  woken_ = true;
}

void PoolSnapshot::SetMoving(bool moving) {
  absl::MutexLock lock(&mutex_);
  if (moving && !moving_) woken_ = true;
  moving_ = moving;
}

absl::Duration PoolSnapshot::Interval() const {
  // The fast pace spends what is spare, never what others need.
  if (fast_ > absl::ZeroDuration() && client_.buckets().SharedFill() > 0.5) return fast_;
  const bool moves =
      moving_ || view_->listed == -absl::InfiniteDuration() || !view_->failure.ok() ||
      std::ranges::any_of(view_->pools, [](const auto& entry) { return Moves(entry.second); });
  return moves ? options_.interval : options_.interval_idle;
}

absl::Duration PoolSnapshot::UntilDue() const {
  absl::MutexLock lock(&mutex_);
  const absl::Duration due = std::max(last_poll_ + Interval(), paused_until_);
  return std::max(absl::ZeroDuration(), due - clock_.Monotonic());
}

void PoolSnapshot::Start() {
  thread_ = base::StartThread("pool-snapshot", [this](std::stop_token stop) {
    const std::stop_callback wake(stop, [this] {
      absl::MutexLock lock(&mutex_);
      woken_ = true;
    });
    while (!stop.stop_requested()) {
      const absl::Duration wait = UntilDue();
      if (wait <= absl::ZeroDuration()) {
        Poll();
        continue;
      }
      absl::MutexLock lock(&mutex_);
      clock_.AwaitUntil(mutex_, absl::Condition(this, &PoolSnapshot::WakeUp),
                        clock_.Monotonic() + wait);
      woken_ = false;
    }
  });
}

void PoolSnapshot::Stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

}  // namespace gpu_provisioner
