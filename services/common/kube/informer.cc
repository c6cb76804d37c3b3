#include "common/kube/informer.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"

#include "boost/json.hpp"
#include "common/base/backoff.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/kube/json.h"
#include "common/kube/sharded_store.h"
#include "common/metrics/metrics.h"

namespace kube {
namespace {

constexpr absl::Duration kWatchIdleSlack = absl::Seconds(30);  // Beyond timeoutSeconds.
constexpr absl::Duration kHealthy = absl::Minutes(2);          // After which back-off starts again.
constexpr absl::Duration kHotWatch = absl::Seconds(1);  // A shorter one without event failed.
constexpr absl::Duration kThreadWait = absl::Seconds(10);
constexpr absl::Duration kNotInstalledMax = absl::Seconds(5);  // Between looks for a kind.

constexpr char kLastApplied[] = "kubectl.kubernetes.io/last-applied-configuration";
constexpr char kInitialEventsEnd[] = "k8s.io/initial-events-end";

void DropUnread(Object& object, const std::function<void(Object&)>& trim) {
  if (object.Find({"metadata", "managedFields"}) != nullptr ||
      object.Find({"metadata", "annotations", kLastApplied}) != nullptr) {
    boost::json::object& metadata = object.mutable_json().as_object()["metadata"].as_object();
    metadata.erase("managedFields");
    if (auto* annotations = metadata.if_contains("annotations")) {
      if (annotations->is_object()) annotations->as_object().erase(kLastApplied);
    }
  }
  if (trim) trim(object);
}

}  // namespace

// States: no watch and no version → list (or watch-list); a version but no watch → open a watch;
// a watch → read its events. Everything but store and synced belongs to the one driving thread.
struct Informer::Impl {
  Impl(Client& api, Resource kind, InformerOptions informer_options, const base::Clock& the_clock)
      : client(api),
        resource(std::move(kind)),
        options(std::move(informer_options)),
        clock(the_clock),
        try_watch_list(options.watch_list),
        next_resync(NextResync()) {}

  absl::Duration Step(absl::Duration wait);
  absl::Duration List();
  absl::Duration OpenWatch();
  absl::Duration ReadEvent(absl::Duration wait);
  void HandleEvent(WatchEvent event);
  void EndInitialEvents();
  void CloseWatch();
  absl::Duration Fail(const absl::Status& status, std::string_view doing);

  void Replace(std::vector<Object> objects);
  void Apply(Object object);
  void Remove(const ObjectKey& key, const Object& last);
  void Resync();
  void Tell(Change change, Object before, Object object, bool initial = false) const;
  absl::Duration NextResync();
  void SetGauges();

  Client& client;
  const Resource resource;
  const InformerOptions options;
  const base::Clock& clock;
  std::vector<std::function<void(const InformerEvent&)>> handlers;

  // The state machine.
  std::string version;  // Of the last event or list; "": list first.
  bool try_watch_list;
  bool in_initial_events = false;
  std::vector<Object> initial_objects;  // Of a watch-list, until its end.
  absl::Duration watch_opened;
  absl::Duration watch_timeout;
  absl::Duration last_byte;
  bool watch_had_event = false;
  absl::Duration last_failure;
  absl::Duration last_list = -absl::InfiniteDuration();
  bool said_not_installed = false;
  base::Backoff backoff;
  absl::BitGen random;
  absl::Duration next_resync;

  mutable absl::Mutex mutex;
  ShardedStore store ABSL_GUARDED_BY(mutex);
  bool synced ABSL_GUARDED_BY(mutex) = false;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::unique_ptr<Watch> watch;  // Changed by the driving thread with `mutex` held.

  std::jthread thread;
};

absl::Duration Informer::Impl::NextResync() {
  if (options.resync <= absl::ZeroDuration()) return absl::InfiniteDuration();
  return clock.Monotonic() + options.resync * absl::Uniform(random, 0.9, 1.1);
}

void Informer::Impl::Tell(Change change, Object before, Object object, bool initial) const {
  const InformerEvent event{.change = change,
                            .before = std::move(before),
                            .object = std::move(object),
                            .initial = initial};
  for (const auto& handler : handlers) handler(event);
}

void Informer::Impl::Apply(Object object) {
  DropUnread(object, options.trim);
  const ObjectKey key = object.key();
  std::optional<Object> before;
  {
    absl::MutexLock lock(&mutex);
    if (const Object* found = store.Find(key)) before = *found;
    store.Put(key, object);
  }
  if (!before) return Tell(Change::kAdded, {}, std::move(object));
  if (before->uid() != object.uid()) {  // Deleted and made again while we did not look.
    Tell(Change::kDeleted, {}, *std::move(before));
    return Tell(Change::kAdded, {}, std::move(object));
  }
  if (before->resource_version() == object.resource_version() &&
      !object.resource_version().empty()) {
    return;  // Told again after a watch was reopened.
  }
  Tell(Change::kUpdated, *std::move(before), std::move(object));
}

void Informer::Impl::Remove(const ObjectKey& key, const Object& last) {
  std::optional<Object> before;
  {
    absl::MutexLock lock(&mutex);
    if (const Object* found = store.Find(key)) before = *found;
    store.Erase(key);
  }
  if (before) Tell(Change::kDeleted, *std::move(before), last);
}

// Swaps the whole store, then tells what is different.
void Informer::Impl::Replace(std::vector<Object> objects) {
  ShardedStore fresh;
  for (Object& object : objects) {
    DropUnread(object, options.trim);
    fresh.Put(object.key(), object);
  }
  std::shared_ptr<const ObjectStore> after = fresh.Snapshot();
  std::shared_ptr<const ObjectStore> before;
  bool initial = false;
  {
    absl::MutexLock lock(&mutex);
    before = store.Snapshot();
    store = std::move(fresh);
    initial = !synced;
  }
  for (const Object& object : before->All()) {
    const Object* now = after->Find(object.key());
    if (now == nullptr || now->uid() != object.uid()) Tell(Change::kDeleted, object, object);
  }
  for (Object& object : after->All()) {
    const Object* old = before->Find(object.key());
    if (old == nullptr || old->uid() != object.uid()) {
      Tell(Change::kAdded, {}, std::move(object), initial);
    } else if (old->resource_version() != object.resource_version() ||
               object.resource_version().empty()) {
      Tell(Change::kUpdated, *old, std::move(object));
    }
  }
  last_list = clock.Monotonic();
  said_not_installed = false;
  absl::MutexLock lock(&mutex);
  synced = true;
}

void Informer::Impl::Resync() {
  next_resync = NextResync();
  std::shared_ptr<const ObjectStore> objects;
  {
    absl::MutexLock lock(&mutex);
    objects = store.Snapshot();
  }
  for (Object& object : objects->All()) Tell(Change::kResync, object, object);
}

void Informer::Impl::SetGauges() {
  if (options.registry == nullptr) return;
  const metrics::Labels labels{{"kind", resource.kind}};
  size_t objects = 0;
  {
    absl::MutexLock lock(&mutex);
    objects = store.size();
  }
  options.registry->GetGauge("kube_informer_objects", "Objects in the cache.", labels)
      .Set(static_cast<double>(objects));
  options.registry
      ->GetGauge("kube_informer_last_event_age_seconds",
                 "Time since the watch last said something.", labels)
      .Set(absl::ToDoubleSeconds(clock.Monotonic() - last_byte));
}

void Informer::Impl::CloseWatch() {
  std::unique_ptr<Watch> closed;
  absl::MutexLock lock(&mutex);
  closed = std::move(watch);
  in_initial_events = false;
  initial_objects.clear();
}

// What a failure costs: the wait before the next step.
absl::Duration Informer::Impl::Fail(const absl::Status& status, std::string_view doing) {
  CloseWatch();
  {
    absl::MutexLock lock(&mutex);
    if (stopping) return absl::ZeroDuration();  // Our own doing.
  }
  const absl::Duration now = clock.Monotonic();
  if (now - last_failure > kHealthy) backoff.Reset();
  last_failure = now;
  if (absl::IsNotFound(status)) {
    if (!said_not_installed) {
      base::LogInfo("kind is not installed, waiting for it", {{"kind", resource.kind}});
    }
    said_not_installed = true;
    version.clear();
    return std::min(backoff.Next(), kNotInstalledMax);
  }
  base::LogWarning("informer failed",
                   {{"kind", resource.kind}, {"doing", doing}, {"error", status}});
  return backoff.Next();
}

absl::Duration Informer::Impl::List() {
  if (options.registry != nullptr) {
    options.registry
        ->GetCounter("kube_informer_relists_total", "Lists of all objects.",
                     {{"kind", resource.kind}})
        .Add();
  }
  absl::StatusOr<ObjectList> list =
      client.List(resource, {
                                .namespace_name = options.namespace_name,
                                .label_selector = options.label_selector,
                                .field_selector = options.field_selector,
                                .metadata_only = options.metadata_only,
                            });
  if (!list.ok()) return Fail(list.status(), "list");
  version = list->resource_version;
  last_byte = clock.Monotonic();
  Replace(std::move(list->items));
  return absl::ZeroDuration();
}

absl::Duration Informer::Impl::OpenWatch() {
  const bool watch_list = version.empty();
  watch_timeout = absl::Seconds(absl::Uniform(random, 300, 601));
  absl::StatusOr<std::unique_ptr<Watch>> opened =
      client.StartWatch(resource, {.namespace_name = options.namespace_name,
                                   .label_selector = options.label_selector,
                                   .field_selector = options.field_selector,
                                   .resource_version = version,
                                   .send_initial_events = watch_list,
                                   .metadata_only = options.metadata_only,
                                   .timeout = watch_timeout});
  if (!opened.ok()) {
    if (watch_list && !absl::IsNotFound(opened.status())) {
      try_watch_list = false;  // Not served here: a plain list then.
      return absl::ZeroDuration();
    }
    if (absl::IsOutOfRange(opened.status())) {
      version.clear();
      // A server that refuses its own list's version must not be asked in a tight loop.
      return clock.Monotonic() - last_list < kHotWatch ? Fail(opened.status(), "watch")
                                                       : absl::ZeroDuration();
    }
    return Fail(opened.status(), "watch");
  }
  watch_opened = last_byte = clock.Monotonic();
  watch_had_event = false;
  in_initial_events = watch_list;
  absl::MutexLock lock(&mutex);
  watch = *std::move(opened);
  if (stopping) watch->Cancel();
  return absl::ZeroDuration();
}

void Informer::Impl::EndInitialEvents() {
  in_initial_events = false;
  Replace(std::exchange(initial_objects, {}));
}

void Informer::Impl::HandleEvent(WatchEvent event) {
  watch_had_event = true;
  last_byte = clock.Monotonic();
  const std::string event_version(event.object.resource_version());
  if (event.type == WatchEvent::Type::kBookmark) {
    if (in_initial_events && event.object.annotation(kInitialEventsEnd) == "true") {
      EndInitialEvents();
    }
  } else if (in_initial_events) {
    initial_objects.push_back(std::move(event.object));
    return;  // The version counts only once the picture is complete.
  } else if (event.type == WatchEvent::Type::kDeleted) {
    DropUnread(event.object, options.trim);
    Remove(event.object.key(), event.object);
  } else {
    Apply(std::move(event.object));
  }
  if (!in_initial_events && !event_version.empty()) version = event_version;
}

absl::Duration Informer::Impl::ReadEvent(absl::Duration wait) {
  const absl::Duration idle_deadline = last_byte + watch_timeout + kWatchIdleSlack;
  const absl::Duration now = clock.Monotonic();
  if (now >= idle_deadline) {
    return Fail(absl::UnavailableError("no byte for longer than the watch may last"), "watch");
  }
  const absl::Duration until = std::min({now + wait, idle_deadline, next_resync});
  absl::StatusOr<std::optional<WatchEvent>> event =
      watch->Next(std::max(until - now, absl::ZeroDuration()));
  if (event.ok() && event->has_value()) {
    HandleEvent(**std::move(event));
    return absl::ZeroDuration();
  }
  if (absl::IsDeadlineExceeded(event.status())) return absl::ZeroDuration();

  if (in_initial_events) {  // Any error before the end of the picture: a plain list.
    try_watch_list = false;
    CloseWatch();
    return absl::ZeroDuration();
  }
  if (options.registry != nullptr) {
    options.registry
        ->GetCounter("kube_informer_watch_restarts_total", "Watches that ended.",
                     {{"kind", resource.kind}})
        .Add();
  }
  const bool hot = !watch_had_event && clock.Monotonic() - watch_opened < kHotWatch;
  if (absl::IsOutOfRange(event.status())) {
    version.clear();
    try_watch_list = options.watch_list;
    if (hot) return Fail(event.status(), "watch");
    CloseWatch();
    return absl::ZeroDuration();
  }
  if (!event.ok()) return Fail(event.status(), "watch");
  if (hot) return Fail(absl::UnavailableError("the watch ended at once"), "watch");
  CloseWatch();
  return absl::ZeroDuration();
}

absl::Duration Informer::Impl::Step(absl::Duration wait) {
  if (clock.Monotonic() >= next_resync) Resync();
  SetGauges();
  if (watch != nullptr) return ReadEvent(wait);
  if (version.empty() && !try_watch_list) return List();
  return OpenWatch();
}

Informer::Informer(Client& client, Resource resource, InformerOptions options,
                   const base::Clock& clock)
    : impl_(std::make_unique<Impl>(client, std::move(resource), std::move(options), clock)) {}

Informer::~Informer() { Stop(); }

void Informer::AddHandler(std::function<void(const InformerEvent&)> handler) {
  impl_->handlers.push_back(std::move(handler));
}

void Informer::Start() {
  impl_->thread = base::StartThread("informer", [impl = impl_.get()](const std::stop_token&) {
    while (true) {
      const absl::Duration pause = impl->Step(kThreadWait);
      absl::MutexLock lock(&impl->mutex);
      impl->clock.AwaitUntil(impl->mutex, absl::Condition(&impl->stopping),
                             impl->clock.Monotonic() + pause);
      if (impl->stopping) return;
    }
  });
}

void Informer::Stop() {
  {
    absl::MutexLock lock(&impl_->mutex);
    impl_->stopping = true;
    if (impl_->watch != nullptr) impl_->watch->Cancel();
  }
  if (impl_->thread.joinable()) impl_->thread.join();
}

absl::Duration Informer::Step(absl::Duration wait) { return impl_->Step(wait); }

bool Informer::synced() const {
  absl::MutexLock lock(&impl_->mutex);
  return impl_->synced;
}

bool Informer::AwaitSync(absl::Duration timeout) {
  absl::MutexLock lock(&impl_->mutex);
  return impl_->mutex.AwaitWithTimeout(absl::Condition(&impl_->synced), timeout);
}

std::shared_ptr<const ObjectStore> Informer::Snapshot() const {
  absl::MutexLock lock(&impl_->mutex);
  return impl_->store.Snapshot();
}

std::optional<Object> Informer::Find(const ObjectKey& key) const {
  absl::MutexLock lock(&impl_->mutex);
  const Object* found = impl_->store.Find(key);
  return found == nullptr ? std::nullopt : std::optional<Object>(*found);
}

const Resource& Informer::resource() const { return impl_->resource; }

}  // namespace kube
