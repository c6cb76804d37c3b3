#include "common/kube/events.h"

#include <algorithm>
#include <list>
#include <map>
#include <thread>
#include <tuple>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"

#include "boost/json.hpp"
#include "common/base/backoff.h"
#include "common/base/bounded_queue.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/kube/rate_limiter.h"
#include "common/metrics/metrics.h"
#include "common/net/digest.h"

namespace kube {
namespace {

namespace json = boost::json;

constexpr size_t kQueueMax = 1000;
constexpr size_t kSeriesMax = 4096;
constexpr size_t kNoteBytesMax = 1024;
constexpr size_t kReasonBytesMax = 128;
constexpr int kBurst = 25;                             // Per object…
constexpr double kPerSecond = 1.0 / 300;               // …and from then on.
constexpr absl::Duration kSilence = absl::Minutes(6);  // Ends a series.
constexpr absl::Duration kRefresh = absl::Minutes(30);
constexpr int kTriesMax = 12;
constexpr absl::Duration kDrain = absl::Seconds(2);

// At most `bytes_max` bytes, never ending inside a UTF-8 character.
std::string Truncate(std::string_view text, size_t bytes_max) {
  if (text.size() > bytes_max) {
    while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xC0) == 0x80) {
      --bytes_max;
    }
    text = text.substr(0, bytes_max);
  }
  return std::string(text);
}

struct Occurrence {
  Object regarding;
  std::string type, reason, note, action;
  absl::Time time;
};

// What makes two events equal.
using SeriesKey = std::tuple<std::string, std::string, std::string, std::string, std::string>;

struct Series {
  SeriesKey key;
  Object event;  // As first stored; its name is where a repetition goes.
  int64_t count = 1;
  absl::Duration last_seen;
  absl::Duration last_written;
};

bool MayRetry(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsResourceExhausted(status) || absl::IsUnauthenticated(status);
}

}  // namespace

// Everything but the queue and what the mutex guards belongs to the writing thread.
struct EventRecorder::Impl {
  Impl(Client& api, EventRecorderOptions recorder_options, const base::Clock& the_clock)
      : client(api), options(std::move(recorder_options)), clock(the_clock), queue(kQueueMax) {}

  void Record(std::string_view type, const Object& regarding, std::string_view reason,
              std::string_view note, std::string_view action);
  void Work();
  void Write(const Occurrence& occurrence);
  bool MayWrite(const std::string& uid);
  Object MakeEvent(const Occurrence& occurrence) const;
  void Create(const Occurrence& occurrence, const SeriesKey& key);
  void Repeat(Series& series, const Occurrence& occurrence);
  absl::Status WithRetries(const std::function<absl::Status(absl::Duration timeout)>& call);
  void Drop(std::string_view why) const;

  Client& client;
  const EventRecorderOptions options;
  const base::Clock& clock;
  base::BoundedQueue<Occurrence> queue;

  std::list<Series> series;  // The latest used first.
  std::map<SeriesKey, std::list<Series>::iterator> series_by_key;
  std::map<std::string, TokenBucket> buckets;  // By the object's uid.

  absl::Mutex mutex;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  absl::Duration drain_deadline ABSL_GUARDED_BY(mutex) = absl::InfiniteDuration();
  std::jthread thread;
};

void EventRecorder::Impl::Drop(std::string_view why) const {
  if (options.registry != nullptr) {
    options.registry->GetCounter("kube_events_dropped_total", "Events that were not written.")
        .Add();
  }
  base::LogDebug("event dropped", {{"why", why}});
}

void EventRecorder::Impl::Record(std::string_view type, const Object& regarding,
                                 std::string_view reason, std::string_view note,
                                 std::string_view action) {
  Occurrence occurrence{.regarding = regarding,
                        .type = std::string(type),
                        .reason = Truncate(reason, kReasonBytesMax),
                        .note = Truncate(note, kNoteBytesMax),
                        .action = Truncate(action, kReasonBytesMax),
                        .time = clock.Now()};
  if (!queue.TryPush(std::move(occurrence))) Drop("queue full");
}

bool EventRecorder::Impl::MayWrite(const std::string& uid) {
  if (buckets.size() > kSeriesMax) buckets.clear();
  const auto [at, added] = buckets.try_emplace(uid, 0, 0);
  if (added) at->second = TokenBucket(kPerSecond, kBurst);
  // Only what needs no wait is written; a refusal costs nothing.
  TokenBucket tried = at->second;
  if (tried.Reserve(clock.Monotonic()) > absl::ZeroDuration()) return false;
  at->second = tried;
  return true;
}

Object EventRecorder::Impl::MakeEvent(const Occurrence& occurrence) const {
  const Object& regarding = occurrence.regarding;
  const std::string_view space =
      regarding.namespace_name().empty() ? "default" : regarding.namespace_name();
  const std::string name = absl::StrFormat("%s.%016x", Truncate(regarding.name(), 230),
                                           absl::ToUnixNanos(occurrence.time));
  const std::string suffix = net::RandomHex(4);  // Two events may have one clock tick.
  return Object(
      json::value{{"apiVersion", "events.k8s.io/v1"},
                  {"kind", "Event"},
                  {"metadata", {{"name", name + suffix}, {"namespace", json::string_view(space)}}},
                  {"eventTime", FormatMicroTime(occurrence.time)},
                  {"reportingController", options.reporting_controller},
                  {"reportingInstance", Truncate(options.reporting_instance, kReasonBytesMax)},
                  {"action", occurrence.action},
                  {"reason", occurrence.reason},
                  {"regarding",
                   {{"apiVersion", json::string_view(regarding.api_version())},
                    {"kind", json::string_view(regarding.kind())},
                    {"name", json::string_view(regarding.name())},
                    {"namespace", json::string_view(regarding.namespace_name())},
                    {"uid", json::string_view(regarding.uid())},
                    {"resourceVersion", json::string_view(regarding.resource_version())}}},
                  {"note", occurrence.note},
                  {"type", occurrence.type}});
}

absl::Status EventRecorder::Impl::WithRetries(
    const std::function<absl::Status(absl::Duration timeout)>& call) {
  base::Backoff backoff({.initial = absl::Seconds(1), .max = absl::Seconds(30)});
  for (int tries = 1;; ++tries) {
    absl::Duration deadline;
    {
      absl::MutexLock lock(&mutex);
      deadline = drain_deadline;
    }
    const absl::Duration left = deadline - clock.Monotonic();
    if (left <= absl::ZeroDuration()) return absl::CancelledError("stopping");
    const absl::Status status = call(std::min(left, absl::Duration(absl::Seconds(10))));
    if (status.ok() || !MayRetry(status) || tries >= kTriesMax) return status;
    absl::MutexLock lock(&mutex);
    if (stopping) return status;
    clock.AwaitUntil(mutex, absl::Condition(&stopping), clock.Monotonic() + backoff.Next());
  }
}

void EventRecorder::Impl::Create(const Occurrence& occurrence, const SeriesKey& key) {
  const Object event = MakeEvent(occurrence);
  const absl::Status status = WithRetries([&](absl::Duration timeout) {
    return client.Create(resources::kEventsV1, event, {.timeout = timeout}).status();
  });
  // A namespace that is going takes no events; that is no news to anybody.
  if (!status.ok()) return Drop(std::string(status.message()));
  const absl::Duration now = clock.Monotonic();
  series.push_front({.key = key, .event = event, .last_seen = now, .last_written = now});
  series_by_key[key] = series.begin();
  if (series.size() > kSeriesMax) {
    series_by_key.erase(series.back().key);
    series.pop_back();
  }
}

void EventRecorder::Impl::Repeat(Series& one, const Occurrence& occurrence) {
  const absl::Duration now = clock.Monotonic();
  ++one.count;
  one.last_seen = now;
  if (one.count > 2 && now - one.last_written < kRefresh) return;
  const json::value patch{
      {"series", {{"count", one.count}, {"lastObservedTime", FormatMicroTime(occurrence.time)}}}};
  const absl::Status status = WithRetries([&](absl::Duration timeout) {
    return client
        .Patch(resources::kEventsV1, one.event.key(), PatchType::kMerge, patch,
               {.timeout = timeout})
        .status();
  });
  if (!status.ok()) Drop(std::string(status.message()));
  one.last_written = now;
}

void EventRecorder::Impl::Write(const Occurrence& occurrence) {
  const std::string uid(occurrence.regarding.uid());
  const SeriesKey key{uid, occurrence.type, occurrence.reason, occurrence.note, occurrence.action};
  const auto found = series_by_key.find(key);
  if (found != series_by_key.end()) {
    const auto at = found->second;
    if (clock.Monotonic() - at->last_seen < kSilence) {
      series.splice(series.begin(), series, at);
      return Repeat(*at, occurrence);
    }
    series.erase(at);
    series_by_key.erase(found);
  }
  if (!MayWrite(uid)) return Drop("too many for one object");
  Create(occurrence, key);
}

void EventRecorder::Impl::Work() {
  while (true) {
    const std::optional<Occurrence> occurrence = queue.Pop();
    if (!occurrence) return;
    Write(*occurrence);
  }
}

EventRecorder::EventRecorder(Client& client, EventRecorderOptions options, const base::Clock& clock)
    : impl_(std::make_unique<Impl>(client, std::move(options), clock)) {
  impl_->thread =
      base::StartThread("events", [impl = impl_.get()](const std::stop_token&) { impl->Work(); });
}

EventRecorder::~EventRecorder() {
  {
    absl::MutexLock lock(&impl_->mutex);
    impl_->stopping = true;
    impl_->drain_deadline = impl_->clock.Monotonic() + kDrain;
  }
  impl_->queue.Close();
  impl_->thread.join();
}

void EventRecorder::Normal(const Object& regarding, std::string_view reason, std::string_view note,
                           std::string_view action) {
  impl_->Record("Normal", regarding, reason, note, action);
}

void EventRecorder::Warning(const Object& regarding, std::string_view reason, std::string_view note,
                            std::string_view action) {
  impl_->Record("Warning", regarding, reason, note, action);
}

}  // namespace kube
