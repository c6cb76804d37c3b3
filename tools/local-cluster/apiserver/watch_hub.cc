#include "local-cluster/apiserver/watch_hub.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "common/kube/json.h"
#include "local-cluster/apiserver/schema/errors.h"

namespace local_cluster {
namespace {

constexpr size_t kEventsPerPass = 1000;

bool InNamespace(const boost::json::value& object, std::string_view name) {
  return name.empty() || kube::StringAt(object, {"metadata", "namespace"}) == name;
}

// The last state before an object left a selection, with the revision at which it did.
SharedJson LeftSelection(const StoreEvent& event) {
  boost::json::value copy = *event.previous;
  copy.as_object()["metadata"].as_object()["resourceVersion"] = std::to_string(event.revision);
  return std::make_shared<const boost::json::value>(std::move(copy));
}

}  // namespace

// Outlives the hub where a connection still holds it.
struct WatchHub::Signal {
  absl::Mutex mutex;
  bool raised ABSL_GUARDED_BY(mutex) = false;

  void Raise() {
    absl::MutexLock lock(&mutex);
    raised = true;
  }
};

struct WatchHub::Watcher {
  WatchRequest request;
  absl::Duration ends_at;
  absl::Duration bookmark_at;
};

// What watchers of one round share: events read once, and lines written once.
class WatchHub::Pass {
 public:
  Pass(const Store& store) : revision(store.revision()), store_(store) {}

  const absl::StatusOr<std::vector<StoreEvent>>& Events(const std::string& resource,
                                                        uint64_t after) {
    auto [found, added] = events_.try_emplace({resource, after});
    if (added) found->second = store_.EventsAfter(resource, after, kEventsPerPass);
    return found->second;
  }

  const std::string& Line(const Encoder& encoder, std::string_view type, uint64_t event_revision,
                          const SharedJson& object, bool with_columns) {
    auto key = absl::StrFormat("%s %d %s %d", type, event_revision, encoder.identity(),
                               static_cast<int>(with_columns));
    auto [found, added] = lines_.try_emplace(std::move(key));
    if (added) found->second = WatchHub::Line(type, encoder.Object(object, with_columns));
    return found->second;
  }

  const uint64_t revision;
  bool more = false;  // Somebody has not got all yet.
  bool shutting_down = false;
  absl::Duration next = absl::InfiniteDuration();  // When the next timer is due.

 private:
  const Store& store_;
  std::map<std::pair<std::string, uint64_t>, absl::StatusOr<std::vector<StoreEvent>>> events_;
  std::map<std::string, std::string> lines_;
};

std::string WatchHub::Line(std::string_view type, std::string_view object) {
  std::string line = "{\"type\":\"";
  line.append(type).append("\",\"object\":").append(object).append("}\n");
  return line;
}

WatchHub::WatchHub(const Store& store, const base::Clock& clock, WatchHubOptions options)
    : store_(store), clock_(clock), options_(options), signal_(std::make_shared<Signal>()) {
  thread_ = base::StartThread("watches", [this](const std::stop_token& stop) { Run(stop); });
}

WatchHub::~WatchHub() {
  Shutdown();
  thread_.request_stop();
  signal_->Raise();
}

void WatchHub::Notify() { signal_->Raise(); }

absl::Status WatchHub::Add(WatchRequest request) {
  auto watcher = std::make_unique<Watcher>();
  const absl::Duration now = clock_.Monotonic();
  watcher->ends_at = now + request.timeout;
  watcher->bookmark_at = now + options_.bookmark_interval;
  watcher->request = std::move(request);
  watcher->request.exchange->OnClose([signal = signal_] { signal->Raise(); });
  {
    absl::MutexLock lock(&mutex_);
    if (shut_down_) return ServiceUnavailableError("the server is shutting down");
    if (count_ >= options_.watches_max) {
      ApiError error;
      error.code = 429;
      error.reason = "TooManyRequests";
      error.message = "too many watches, please try again later";
      error.retry_after_seconds = 1;
      return ToStatus(error);
    }
    ++count_;
    added_.push_back(std::move(watcher));
  }
  signal_->Raise();
  return absl::OkStatus();
}

void WatchHub::Shutdown() {
  {
    absl::MutexLock lock(&mutex_);
    shut_down_ = true;
  }
  signal_->Raise();
}

void WatchHub::Run(const std::stop_token& stop) {
  std::vector<std::unique_ptr<Watcher>> watchers;
  while (true) {
    Pass pass(store_);
    {
      absl::MutexLock lock(&mutex_);
      for (auto& watcher : added_) watchers.push_back(std::move(watcher));
      added_.clear();
      pass.shutting_down = shut_down_;
    }
    const size_t before = watchers.size();
    std::erase_if(watchers, [&](const auto& watcher) { return !Serve(*watcher, pass); });
    {
      absl::MutexLock lock(&mutex_);
      count_ -= static_cast<int>(before - watchers.size());
    }
    if (stop.stop_requested()) return;
    if (pass.more) continue;
    absl::MutexLock lock(&signal_->mutex);
    clock_.AwaitUntil(signal_->mutex, absl::Condition(&signal_->raised), pass.next);
    signal_->raised = false;
  }
}

bool WatchHub::Serve(Watcher& watcher, Pass& pass) {
  WatchRequest& request = watcher.request;
  net::Exchange& exchange = *request.exchange;
  if (exchange.closed()) return false;
  if (exchange.unsent_bytes() > options_.unsent_bytes_max) {
    exchange.Abort();
    return false;
  }
  const auto& events = pass.Events(request.encoder->kind().storage, request.after);
  if (!events.ok()) {
    const absl::Status expired = ExpiredError(std::string(events.status().message()));
    exchange.Write(Line("ERROR", boost::json::serialize(StatusJson(FromStatus(expired)))));
    exchange.End();
    return false;
  }
  std::string text;
  for (const StoreEvent& event : *events) {
    request.after = event.revision;
    if (!InNamespace(*event.object, request.namespace_name)) continue;
    const bool was = event.previous != nullptr && request.selector.Matches(*event.previous);
    const bool is = event.type != ChangeType::kDeleted && request.selector.Matches(*event.object);
    if (!was && !is) continue;
    const std::string_view type = !was ? "ADDED" : is ? "MODIFIED" : "DELETED";
    const SharedJson object =
        is || event.type == ChangeType::kDeleted ? event.object : LeftSelection(event);
    text += pass.Line(*request.encoder, type, event.revision, object, !request.columns_sent);
    request.columns_sent = true;
  }
  if (events->size() == kEventsPerPass) pass.more = true;
  const absl::Duration now = clock_.Monotonic();
  const bool ends = now >= watcher.ends_at || pass.shutting_down;
  if (request.bookmarks && !pass.more && (ends || now >= watcher.bookmark_at)) {
    request.after = std::max(request.after, pass.revision);
    text += Line("BOOKMARK", request.encoder->Bookmark(request.after, false));
    watcher.bookmark_at = now + options_.bookmark_interval;
  }
  if (!text.empty() && !exchange.Write(std::move(text))) return false;
  if (ends) {
    exchange.End();
    return false;
  }
  pass.next = std::min(pass.next, watcher.ends_at);
  if (request.bookmarks) pass.next = std::min(pass.next, watcher.bookmark_at);
  return true;
}

}  // namespace local_cluster
