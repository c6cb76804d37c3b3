#include "local-cluster/apiserver/storage/store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"

namespace local_cluster {
namespace {

std::string PathOf(const StoreKey& key) { return key.namespace_name + "/" + key.name; }

// The same object with another resourceVersion.
boost::json::value WithRevision(boost::json::value object, uint64_t revision) {
  boost::json::object& top = object.as_object();
  boost::json::value& metadata = top["metadata"];
  if (!metadata.is_object()) metadata = boost::json::object();
  metadata.as_object()["resourceVersion"] = std::to_string(revision);
  return object;
}

}  // namespace

Store::Store(StoreOptions options, std::unique_ptr<WriteLog> log)
    : options_(options), log_(std::move(log)) {
  if (log_ == nullptr) return;
  log_thread_ = base::StartThread("store-log", [this](std::stop_token) { RunLog(); });
}

Store::~Store() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (log_thread_.joinable()) log_thread_.join();
}

void Store::Restore(const LogRecord& record, bool into_history) {
  absl::MutexLock lock(&mutex_);
  Publish(record);
  if (into_history) return;
  resources_[record.key.resource].history.clear();
}

void Store::RestoreHistoryFloor(uint64_t revision) {
  absl::MutexLock lock(&mutex_);
  floor_ = revision;
}

void Store::RestoreRevision(uint64_t revision) {
  absl::MutexLock lock(&mutex_);
  published_ = std::max(published_, revision);
  assigned_ = published_;
}

StoredObject Store::Get(const StoreKey& key) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto data = resources_.find(key.resource);
  if (data == resources_.end()) return {};
  const auto found = data->second.objects.find(PathOf(key));
  return found == data->second.objects.end() ? StoredObject{} : found->second;
}

absl::StatusOr<ListResult> Store::List(const ListRange& range) const {
  absl::ReaderMutexLock lock(&mutex_);
  ListResult result;
  result.revision = range.at_revision == 0 ? published_ : range.at_revision;
  const auto found = resources_.find(range.resource);
  const uint64_t floor =
      std::max(floor_, found == resources_.end() ? 0 : found->second.history_floor);
  if (range.at_revision != 0 && result.revision < floor) {
    return absl::OutOfRangeError(
        absl::StrFormat("too old resource version: %d (%d)", range.at_revision, floor));
  }
  if (found == resources_.end()) return result;
  const ResourceData& data = found->second;
  // What was different then: the state before the first event after that revision.
  std::map<std::string, SharedJson, std::less<>> undone;
  for (auto entry = data.history.rbegin(); entry != data.history.rend(); ++entry) {
    if (entry->event.revision <= result.revision) break;
    undone[entry->path] = entry->event.previous;
  }

  const std::string prefix = range.namespace_name.empty() ? "" : range.namespace_name + "/";
  const std::string start = std::max(prefix, range.after);
  auto object = data.objects.lower_bound(start);
  auto old = undone.lower_bound(start);
  std::string_view last_path;
  while (object != data.objects.end() || old != undone.end()) {
    const bool from_old =
        old != undone.end() && (object == data.objects.end() || old->first <= object->first);
    const std::string_view path = from_old ? old->first : object->first;
    if (!path.starts_with(prefix)) break;
    StoredObject item;
    if (from_old) {
      if (object != data.objects.end() && object->first == old->first) ++object;
      item.value = old->second;
      ++old;
    } else {
      item = object->second;
      ++object;
    }
    if (item.value == nullptr || path <= range.after) continue;
    if (range.limit != 0 && result.items.size() == range.limit) {
      result.more = true;
      ++result.remaining;
      continue;
    }
    result.items.push_back(std::move(item));
  }
  return result;
}

absl::StatusOr<StoredObject> Store::Put(const StoreKey& key, uint64_t expected,
                                        boost::json::value object) {
  CHECK(object.is_object());
  return Commit(key, expected, &object);
}

absl::StatusOr<StoredObject> Store::Delete(const StoreKey& key, uint64_t expected) {
  return Commit(key, expected, nullptr);
}

uint64_t Store::NewestRevision(const StoreKey& key) const {
  if (const auto pending = in_flight_.find(key); pending != in_flight_.end()) {
    return pending->second->record.object == nullptr ? 0 : pending->second->record.revision;
  }
  const auto data = resources_.find(key.resource);
  if (data == resources_.end()) return 0;
  const auto found = data->second.objects.find(PathOf(key));
  return found == data->second.objects.end() ? 0 : found->second.revision;
}

absl::StatusOr<StoredObject> Store::Commit(const StoreKey& key, uint64_t expected,
                                           boost::json::value* object) {
  StoredObject result;
  {
    absl::MutexLock lock(&mutex_);
    if (const uint64_t newest = NewestRevision(key); newest != expected) {
      // The caller reads again at once, and must then see what it lost against.
      if (const auto pending = in_flight_.find(key); pending != in_flight_.end()) {
        const std::shared_ptr<Write> write = pending->second;
        mutex_.Await(absl::Condition(&write->done));
      }
      if (expected == 0) return absl::AlreadyExistsError("object exists");
      if (newest == 0) return absl::NotFoundError("object is gone");
      return absl::AbortedError("object was changed");
    }
    if (object == nullptr && expected == 0) return absl::NotFoundError("object is gone");
    auto write = std::make_shared<Write>();
    write->record.key = key;
    write->record.revision = ++assigned_;
    if (object != nullptr) {
      write->record.object = std::make_shared<const boost::json::value>(
          WithRevision(std::move(*object), write->record.revision));
    }
    result = {write->record.object, write->record.revision};
    if (log_ == nullptr) {
      Publish(write->record);
    } else {
      in_flight_[key] = write;
      waiting_.push_back(write);
      mutex_.Await(absl::Condition(&write->done));
      RETURN_IF_ERROR(write->status);
    }
    if (object == nullptr) {
      const ResourceData& data = resources_[key.resource];
      for (auto entry = data.history.rbegin(); entry != data.history.rend(); ++entry) {
        if (entry->event.revision == result.revision) result.value = entry->event.object;
      }
    }
  }
  if (log_ == nullptr && observer_) observer_();
  return result;
}

void Store::Publish(const LogRecord& record) {
  ResourceData& data = resources_[record.key.resource];
  std::string path = PathOf(record.key);
  const auto found = data.objects.find(path);
  HistoryEntry entry;
  entry.event.revision = record.revision;
  entry.event.object = record.object;
  if (found != data.objects.end()) entry.event.previous = found->second.value;
  if (record.object == nullptr) {
    entry.event.type = ChangeType::kDeleted;
    if (found == data.objects.end()) return;
    entry.event.object = std::make_shared<const boost::json::value>(
        WithRevision(*found->second.value, record.revision));
    data.objects.erase(found);
  } else if (found != data.objects.end()) {
    entry.event.type = ChangeType::kModified;
    found->second = {record.object, record.revision};
  } else {
    data.objects.emplace(path, StoredObject{record.object, record.revision});
  }
  entry.path = std::move(path);
  entry.at = options_.clock->Monotonic();
  data.history.push_back(std::move(entry));
  published_ = std::max(published_, record.revision);
  assigned_ = std::max(assigned_, published_);
  TrimHistory(data);
}

void Store::TrimHistory(ResourceData& data) {
  const absl::Duration oldest = options_.clock->Monotonic() - options_.history;
  while (data.history.size() > options_.history_events && data.history.front().at < oldest) {
    data.history_floor = data.history.front().event.revision;
    data.history.pop_front();
  }
}

absl::StatusOr<std::vector<StoreEvent>> Store::EventsAfter(const std::string& resource,
                                                           uint64_t revision, size_t limit) const {
  absl::ReaderMutexLock lock(&mutex_);
  std::vector<StoreEvent> events;
  const auto found = resources_.find(resource);
  const uint64_t floor =
      std::max(floor_, found == resources_.end() ? 0 : found->second.history_floor);
  if (revision < floor) {
    return absl::OutOfRangeError(
        absl::StrFormat("too old resource version: %d (%d)", revision, floor));
  }
  if (found == resources_.end()) return events;
  const ResourceData& data = found->second;
  auto first = std::ranges::upper_bound(
      data.history, revision, {}, [](const HistoryEntry& entry) { return entry.event.revision; });
  for (; first != data.history.end() && events.size() < limit; ++first) {
    events.push_back(first->event);
  }
  return events;
}

uint64_t Store::revision() const {
  absl::ReaderMutexLock lock(&mutex_);
  return published_;
}

bool Store::AwaitRevision(uint64_t revision, absl::Duration timeout) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto reached = [this, revision]()
                           ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return published_ >= revision; };
  return mutex_.AwaitWithTimeout(absl::Condition(&reached), timeout);
}

size_t Store::object_count(const std::string& resource) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto found = resources_.find(resource);
  return found == resources_.end() ? 0 : found->second.objects.size();
}

void Store::FailWaiting(const absl::Status& status) {
  for (const std::shared_ptr<Write>& write : waiting_) {
    write->status = status;
    write->done = true;
  }
  waiting_.clear();
}

void Store::RunLog() {
  while (true) {
    std::vector<std::shared_ptr<Write>> batch;
    std::vector<LogRecord> records;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &Store::HasWorkOrStops));
      if (waiting_.empty()) return;  // Stopping, and all is written.
      batch.swap(waiting_);
    }
    records.reserve(batch.size());
    for (const std::shared_ptr<Write>& write : batch) records.push_back(write->record);
    const absl::Status status = log_->Append(records);
    {
      absl::MutexLock lock(&mutex_);
      for (const std::shared_ptr<Write>& write : batch) {
        if (status.ok()) Publish(write->record);
        write->status = status;
        write->done = true;
        const auto newest = in_flight_.find(write->record.key);
        if (newest != in_flight_.end() && newest->second == write) in_flight_.erase(newest);
      }
      if (!status.ok()) {
        // Later writes were checked against these, and their revisions would leave a gap.
        FailWaiting(status);
        in_flight_.clear();
        assigned_ = published_;
      }
    }
    if (status.ok() && observer_) observer_();
    if (log_->WantsSnapshot()) TakeSnapshot();
  }
}

void Store::TakeSnapshot() {
  std::vector<LogRecord> objects;
  uint64_t revision = 0;
  {
    absl::ReaderMutexLock lock(&mutex_);
    revision = published_;
    for (const auto& [resource, data] : resources_) {
      for (const auto& [path, stored] : data.objects) {
        const size_t slash = path.find('/');
        objects.push_back({{resource, path.substr(0, slash), path.substr(slash + 1)},
                           stored.revision,
                           stored.value});
      }
    }
  }
  if (const absl::Status status = log_->Snapshot(revision, objects); !status.ok()) {
    base::LogWarning("snapshot not written", {{"error", status}});
  }
}

}  // namespace local_cluster
