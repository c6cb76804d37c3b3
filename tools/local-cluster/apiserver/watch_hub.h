// Brings the store's events to everybody who watches.

#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/net/http_server.h"
#include "local-cluster/apiserver/encoder.h"
#include "local-cluster/apiserver/selectors.h"
#include "local-cluster/apiserver/storage/store.h"

namespace local_cluster {

struct WatchHubOptions {
  absl::Duration bookmark_interval = absl::Seconds(60);
  int watches_max = 2000;
  size_t unsent_bytes_max = 8 << 20;  // A watcher that is further behind is cut off.
};

// One watcher; its exchange has begun its answer, and has been told all up to `after`.
struct WatchRequest {
  std::string namespace_name;  // "": all.
  Selector selector;
  std::shared_ptr<const Encoder> encoder;
  uint64_t after = 0;
  bool bookmarks = false;
  bool columns_sent = false;  // Of tables.
  absl::Duration timeout = absl::Minutes(30);
  std::shared_ptr<net::Exchange> exchange;
};

// One thread writes to all watchers; it never waits for one.
//
// Thread-safe.
class WatchHub {
 public:
  WatchHub(const Store& store, const base::Clock& clock, WatchHubOptions options);
  ~WatchHub();

  // kResourceExhausted (429) when there are too many.
  absl::Status Add(WatchRequest request);

  // There are new events.
  void Notify();

  // Ends all watches with a last bookmark; takes no more.
  void Shutdown();

  // A watch's line for an event as this watcher's selector sees it; "" if not at all.
  static std::string Line(std::string_view type, std::string_view object);

 private:
  struct Watcher;
  struct Signal;
  class Pass;

  void Run(const std::stop_token& stop);
  // False when the watcher has ended.
  bool Serve(Watcher& watcher, Pass& pass);

  const Store& store_;
  const base::Clock& clock_;
  const WatchHubOptions options_;
  const std::shared_ptr<Signal> signal_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Watcher>> added_ ABSL_GUARDED_BY(mutex_);
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

}  // namespace local_cluster
