// A local copy of all objects of a kind, kept up to date by list and watch.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/client.h"

namespace kube {

// An immutable picture of the cache. Readers keep it as long as they like.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;
  virtual const Object* Find(const ObjectKey& key) const = 0;
  virtual std::vector<Object> All() const = 0;  // In key order; cheap copies.
  virtual size_t size() const = 0;
};

struct InformerOptions {
  std::string namespace_name;
  std::string label_selector;
  std::string field_selector;
  bool metadata_only = false;
  bool watch_list = false;                  // Try sendInitialEvents first.
  absl::Duration resync = absl::Hours(10);  // Handlers hear of every object again; no network.
  // Drops what nobody reads before an object is stored; managedFields always go.
  std::function<void(Object&)> trim;
  metrics::Registry* registry = nullptr;
};

enum class Change { kAdded, kUpdated, kDeleted, kResync };

// One change, told in order. `before` is empty for kAdded, `object` is the last known state for
// kDeleted.
struct InformerEvent {
  Change change = Change::kAdded;
  Object before;
  Object object;
  bool initial = false;  // From the first list.
};

// Start() begins a thread; handlers run on it, without a lock held. Thread-safe otherwise.
//
// While a kind is not installed (404) it waits and says so once. Errors are retried with back-off
// 0.8 → 30 s; a watch whose history is gone lists again and reports the difference.
class Informer {
 public:
  Informer(Client& client, Resource resource, InformerOptions options = {},
           const base::Clock& clock = base::RealClock());
  ~Informer();  // Stops and joins.

  // Before Start().
  void AddHandler(std::function<void(const InformerEvent&)> handler);

  void Start();
  void Stop();

  // Instead of Start(): one step of the state machine, on the caller's thread. Lists, opens the
  // watch, takes one event (waiting for it at most `wait`), or notices by the clock that something
  // is due. Returns how long nothing need be done: the back-off after a failure, else zero.
  absl::Duration Step(absl::Duration wait);

  bool synced() const;
  // Blocks until the first list is in, at most `timeout`.
  bool AwaitSync(absl::Duration timeout);

  std::shared_ptr<const ObjectStore> Snapshot() const;
  // One object of the current snapshot.
  std::optional<Object> Find(const ObjectKey& key) const;

  const Resource& resource() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kube
