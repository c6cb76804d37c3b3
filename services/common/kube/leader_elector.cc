#include "common/kube/leader_elector.h"

#include <thread>
#include <utility>

#include <unistd.h>

#include "absl/random/random.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"

#include "boost/json.hpp"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/kube/json.h"
#include "common/metrics/metrics.h"
#include "common/net/digest.h"

namespace kube {
namespace {

constexpr double kJitter = 1.2;

std::string MakeIdentity() {
  char host[256] = {};
  gethostname(host, sizeof(host) - 1);
  return absl::StrFormat("%s_%s", host, net::RandomUuid());
}

}  // namespace

// Everything but what the mutex guards belongs to the driving thread.
struct LeaderElector::Impl {
  Impl(Client& api, LeaderElectorOptions elector_options, const base::Clock& the_clock)
      : client(api), options(std::move(elector_options)), clock(the_clock) {
    if (options.identity.empty()) options.identity = MakeIdentity();
    CHECK(options.lease_duration > options.renew_deadline);
    CHECK(options.renew_deadline > options.retry_period * kJitter);
    SetGauge(0);
  }

  absl::Duration Step();
  absl::Status TryOnce(absl::Duration begin);
  absl::Status Renew(absl::Duration timeout);
  absl::Status Take(absl::Duration now, absl::Duration timeout);
  Object WithHolder(const Object& lease, const std::string& holder, absl::Duration duration) const;
  void Observe(const Object& seen);
  void Won(absl::Duration begin);
  void Lost();
  void SetGauge(double value) const;

  Client& client;
  LeaderElectorOptions options;
  const base::Clock& clock;
  std::function<void()> on_started;
  std::function<void()> on_lost;

  Object lease;  // As last seen.
  absl::Duration observed_at;
  bool finished = false;  // Lost or released: no more tries.
  absl::BitGen random;

  mutable absl::Mutex mutex;
  bool leading ABSL_GUARDED_BY(mutex) = false;
  absl::Duration renewed_at ABSL_GUARDED_BY(mutex);  // When the last good renewal began.
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::jthread thread;
};

void LeaderElector::Impl::SetGauge(double value) const {
  if (options.registry == nullptr) return;
  options.registry
      ->GetGauge("leader_election_master_status", "1 while this process leads.",
                 {{"name", options.name}})
      .Set(value);
}

void LeaderElector::Impl::Observe(const Object& seen) {
  if (seen.resource_version() != lease.resource_version() || seen.uid() != lease.uid() ||
      lease.resource_version().empty()) {
    observed_at = clock.Monotonic();
  }
  lease = seen;
}

Object LeaderElector::Impl::WithHolder(const Object& from, const std::string& holder,
                                       absl::Duration duration) const {
  Object changed = from;
  boost::json::value& spec = MakePath(changed.mutable_json(), {"spec"});
  if (!spec.is_object()) spec = boost::json::object();
  boost::json::object& fields = spec.as_object();
  const std::string now = FormatMicroTime(clock.Now());
  const std::string_view before = from.StringAt({"spec", "holderIdentity"});
  if (before != holder && !holder.empty()) {
    fields["acquireTime"] = now;
    fields["leaseTransitions"] =
        from.IntAt({"spec", "leaseTransitions"}) + (from.resource_version().empty() ? 0 : 1);
  }
  fields["holderIdentity"] = holder;
  fields["leaseDurationSeconds"] = absl::ToInt64Seconds(duration);
  fields["renewTime"] = now;
  return changed;
}

void LeaderElector::Impl::Won(absl::Duration begin) {
  bool first = false;
  {
    absl::MutexLock lock(&mutex);
    first = !leading;
    leading = true;
    renewed_at = begin;
  }
  if (!first) return;
  SetGauge(1);
  base::LogInfo("became leader", {{"lease", options.name}, {"identity", options.identity}});
  if (on_started) on_started();
}

void LeaderElector::Impl::Lost() {
  {
    absl::MutexLock lock(&mutex);
    leading = false;
  }
  finished = true;
  SetGauge(0);
  base::LogError("lost the lease", {{"lease", options.name}, {"identity", options.identity}});
  if (on_lost) on_lost();
}

absl::Status LeaderElector::Impl::Renew(absl::Duration timeout) {
  absl::StatusOr<Object> stored =
      client.Update(resources::kLeases, WithHolder(lease, options.identity, options.lease_duration),
                    {.timeout = timeout});
  if (stored.ok()) Observe(*stored);
  return stored.status();
}

// As a follower: looks, and takes what is free.
absl::Status LeaderElector::Impl::Take(absl::Duration now, absl::Duration timeout) {
  const ObjectKey key{options.namespace_name, options.name};
  absl::StatusOr<Object> seen = client.Get(resources::kLeases, key, timeout);
  if (absl::IsNotFound(seen.status())) {
    Object fresh(boost::json::value{
        {"apiVersion", resources::kLeases.api_version()},
        {"kind", resources::kLeases.kind},
        {"metadata", {{"name", options.name}, {"namespace", options.namespace_name}}}});
    seen = client.Create(resources::kLeases,
                         WithHolder(fresh, options.identity, options.lease_duration),
                         {.timeout = timeout});
    if (seen.ok()) Observe(*seen);
    return seen.status();
  }
  if (!seen.ok()) return seen.status();
  Observe(*seen);
  const std::string_view holder = lease.StringAt({"spec", "holderIdentity"});
  // By our own sight of its last change: the clocks of others may be wrong.
  const absl::Duration duration = absl::Seconds(lease.IntAt({"spec", "leaseDurationSeconds"}));
  if (!holder.empty() && holder != options.identity && now < observed_at + duration) {
    return absl::AlreadyExistsError(absl::StrFormat("held by %s", holder));
  }
  return Renew(timeout);
}

absl::Status LeaderElector::Impl::TryOnce(absl::Duration begin) {
  bool was_leading = false;
  absl::Duration deadline = begin + options.renew_deadline;
  {
    absl::MutexLock lock(&mutex);
    was_leading = leading;
    if (leading) deadline = renewed_at + options.renew_deadline;
  }
  const absl::Duration timeout = std::max(deadline - begin, absl::Duration(absl::Seconds(1)));
  if (!was_leading) return Take(begin, timeout);
  absl::Status status = Renew(timeout);
  if (!absl::IsAborted(status)) return status;
  // Somebody wrote to the lease. If it is still ours, go on from what is there now.
  absl::StatusOr<Object> seen =
      client.Get(resources::kLeases, {options.namespace_name, options.name}, timeout);
  if (!seen.ok()) return seen.status();
  Observe(*seen);
  if (lease.StringAt({"spec", "holderIdentity"}) != options.identity) {
    return absl::PermissionDeniedError("another holds the lease");
  }
  return Renew(timeout);
}

absl::Duration LeaderElector::Impl::Step() {
  if (finished) return absl::InfiniteDuration();
  const absl::Duration begin = clock.Monotonic();
  const absl::Status status = TryOnce(begin);
  if (status.ok()) Won(begin);
  bool lost = false;
  {
    absl::MutexLock lock(&mutex);
    lost = leading && !status.ok() &&
           (absl::IsPermissionDenied(status) ||
            clock.Monotonic() >= renewed_at + options.renew_deadline);
  }
  if (lost) {
    Lost();
    return absl::InfiniteDuration();
  }
  if (!status.ok() && !absl::IsAlreadyExists(status) && !absl::IsAborted(status)) {
    base::LogWarning("lease not renewed", {{"lease", options.name}, {"error", status}});
  }
  return options.retry_period * absl::Uniform(random, 1.0, kJitter);
}

LeaderElector::LeaderElector(Client& client, LeaderElectorOptions options, const base::Clock& clock)
    : impl_(std::make_unique<Impl>(client, std::move(options), clock)) {}

LeaderElector::~LeaderElector() { Release(); }

void LeaderElector::SetCallbacks(std::function<void()> on_started, std::function<void()> on_lost) {
  impl_->on_started = std::move(on_started);
  impl_->on_lost = std::move(on_lost);
}

void LeaderElector::Start(std::function<void()> on_started, std::function<void()> on_lost) {
  SetCallbacks(std::move(on_started), std::move(on_lost));
  impl_->thread = base::StartThread("elector", [impl = impl_.get()](const std::stop_token&) {
    while (true) {
      const absl::Duration wait = impl->Step();
      absl::MutexLock lock(&impl->mutex);
      impl->clock.AwaitUntil(impl->mutex, absl::Condition(&impl->stopping),
                             impl->clock.Monotonic() + wait);
      if (impl->stopping) return;
    }
  });
}

absl::Duration LeaderElector::Step() { return impl_->Step(); }

bool LeaderElector::IsLeader(absl::Duration margin) const {
  absl::MutexLock lock(&impl_->mutex);
  return impl_->leading &&
         impl_->clock.Monotonic() + margin < impl_->renewed_at + impl_->options.lease_duration;
}

const std::string& LeaderElector::identity() const { return impl_->options.identity; }

void LeaderElector::Release() {
  bool was_leading = false;
  {
    absl::MutexLock lock(&impl_->mutex);
    impl_->stopping = true;
  }
  if (impl_->thread.joinable()) impl_->thread.join();
  {
    absl::MutexLock lock(&impl_->mutex);
    was_leading = std::exchange(impl_->leading, false);
  }
  impl_->finished = true;
  if (!was_leading) return;
  impl_->SetGauge(0);
  const absl::StatusOr<Object> released = impl_->client.Update(
      resources::kLeases, impl_->WithHolder(impl_->lease, "", absl::Seconds(1)),
      {.timeout = absl::Seconds(2)});
  if (!released.ok()) {
    base::LogWarning("lease not released, it will run out",
                     {{"lease", impl_->options.name}, {"error", released.status()}});
  }
}

}  // namespace kube
