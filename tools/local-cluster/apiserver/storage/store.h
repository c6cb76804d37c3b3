// All objects of the cluster, their one revision counter, and the recent history that watches read.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"

namespace local_cluster {

using SharedJson = std::shared_ptr<const boost::json::value>;

// Where an object lies. `resource` is "group/plural" ("/pods"): all versions of a kind are one.
struct StoreKey {
  std::string resource;
  std::string namespace_name;  // "" for cluster-scoped kinds.
  std::string name;

  auto operator<=>(const StoreKey&) const = default;
};

// An object as stored; immutable. `value` is null where there is none.
struct StoredObject {
  SharedJson value;
  uint64_t revision = 0;

  explicit operator bool() const { return value != nullptr; }
};

enum class ChangeType { kAdded, kModified, kDeleted };

struct StoreEvent {
  ChangeType type = ChangeType::kAdded;
  uint64_t revision = 0;
  SharedJson object;    // For kDeleted the last state, with the deletion's resourceVersion.
  SharedJson previous;  // Null for kAdded.
};

// One write on its way to disk.
struct LogRecord {
  StoreKey key;
  uint64_t revision = 0;
  SharedJson object;  // Null: deleted.
};

// Makes writes durable. Called by one thread.
class WriteLog {
 public:
  virtual ~WriteLog() = default;

  // OK: all records will be found again. An error: none will be; the log is as before the call and
  // may be tried again. What cannot be known to be either ends the process.
  virtual absl::Status Append(const std::vector<LogRecord>& records) = 0;

  // Called from time to time, between writes, with all that is stored at `revision`.
  virtual bool WantsSnapshot() const = 0;
  virtual absl::Status Snapshot(uint64_t revision, const std::vector<LogRecord>& objects) = 0;
};

struct StoreOptions {
  absl::Duration history = absl::Seconds(75);  // An event is kept while it is younger than this
  size_t history_events = 1000;                // or among the newest so many of its resource.
  const base::Clock* clock = &base::RealClock();
};

struct ListResult {
  std::vector<StoredObject> items;  // In the order of namespace, name.
  uint64_t revision = 0;
  bool more = false;     // `limit` ended it; go on after the last item's key.
  size_t remaining = 0;  // How many items follow.
};

struct ListRange {
  std::string resource;
  std::string namespace_name;  // "": all.
  uint64_t at_revision = 0;    // 0: now. Else that state exactly, from the history.
  std::string after;           // Only keys "namespace/name" after this one.
  size_t limit = 0;            // 0: all.
};

// Reads see only what is durable. A write is checked against the newest state, waits until the log
// has it, and is then published: to readers, to the history, to the observer.
//
// Thread-safe. Writes of many threads share one Append().
class Store {
 public:
  // `log` may be null: nothing is kept.
  Store(StoreOptions options, std::unique_ptr<WriteLog> log);
  ~Store();

  // Puts back what a log had, before the first other call, in the order of revisions.
  void Restore(const LogRecord& record, bool into_history);
  void RestoreRevision(uint64_t revision);
  // Nothing is known of how things were before this revision.
  void RestoreHistoryFloor(uint64_t revision);

  StoredObject Get(const StoreKey& key) const;

  // kOutOfRange: `at_revision` is older than the history.
  absl::StatusOr<ListResult> List(const ListRange& range) const;

  // Writes if the object's newest revision is `expected` (0: there must be none); sets
  // metadata.resourceVersion. kAborted: it is another one, which is published by then.
  // kAlreadyExists, kNotFound: as they say. Any other error comes from the log.
  absl::StatusOr<StoredObject> Put(const StoreKey& key, uint64_t expected,
                                   boost::json::value object);
  absl::StatusOr<StoredObject> Delete(const StoreKey& key, uint64_t expected);

  // At most `limit` events of a resource after `revision`. kOutOfRange: history is gone.
  absl::StatusOr<std::vector<StoreEvent>> EventsAfter(const std::string& resource,
                                                      uint64_t revision, size_t limit) const;

  // Of the last published write.
  uint64_t revision() const;
  // Blocks until that revision is published, at most `timeout`.
  bool AwaitRevision(uint64_t revision, absl::Duration timeout) const;

  // Called after each publication, without a lock held. Set once, before the first write.
  void SetObserver(std::function<void()> observer) { observer_ = std::move(observer); }

  size_t object_count(const std::string& resource) const;

 private:
  struct HistoryEntry {
    StoreEvent event;
    std::string path;   // "namespace/name".
    absl::Duration at;  // Monotonic.
  };
  struct ResourceData {
    std::map<std::string, StoredObject, std::less<>> objects;  // By "namespace/name".
    std::deque<HistoryEntry> history;
    uint64_t history_floor = 0;  // Events up to this one may be gone.
  };
  struct Write {
    LogRecord record;
    bool done = false;
    absl::Status status;
  };

  absl::StatusOr<StoredObject> Commit(const StoreKey& key, uint64_t expected,
                                      boost::json::value* object);
  uint64_t NewestRevision(const StoreKey& key) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Publish(const LogRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TrimHistory(ResourceData& data) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FailWaiting(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunLog();
  void TakeSnapshot();
  bool HasWorkOrStops() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !waiting_.empty();
  }

  const StoreOptions options_;
  const std::unique_ptr<WriteLog> log_;
  std::function<void()> observer_;

  mutable absl::Mutex mutex_;
  std::map<std::string, ResourceData, std::less<>> resources_ ABSL_GUARDED_BY(mutex_);
  uint64_t published_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t floor_ ABSL_GUARDED_BY(mutex_) = 0;     // Of the history of all resources.
  uint64_t assigned_ ABSL_GUARDED_BY(mutex_) = 0;  // ≥ published_; the rest is on its way.
  std::vector<std::shared_ptr<Write>> waiting_ ABSL_GUARDED_BY(mutex_);  // Not yet in the log.
  std::map<StoreKey, std::shared_ptr<Write>> in_flight_ ABSL_GUARDED_BY(mutex_);  // Newest per key.
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread log_thread_;
};

}  // namespace local_cluster
