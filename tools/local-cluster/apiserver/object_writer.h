// Creating, changing and deleting objects, as the API defines it.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

#include "common/base/clock.h"
#include "local-cluster/apiserver/request.h"
#include "local-cluster/apiserver/storage/store.h"

namespace local_cluster {

struct WriteResult {
  SharedJson object;  // In storage form.
  bool created = false;
  bool gone = false;  // Of a deletion: nothing is left, else it waits for finalizers or a grace.
  std::vector<std::string> warnings;
};

// The body of a DELETE.
struct DeleteParameters {
  std::optional<int64_t> grace_period_seconds;
  std::string uid;  // Preconditions, if given.
  std::string resource_version;
  std::string propagation;  // "", Background, Foreground, Orphan.
};

// Steps that belong to single kinds and need more than the object. Each may be empty.
struct WriteHooks {
  // May change what will be stored, or refuse it. `old` is null on create.
  std::function<absl::Status(const ResourceRequest&, boost::json::value& object,
                             const boost::json::value* old, std::vector<std::string>& warnings)>
      admit;
  // After an object was stored or removed; `object` is its last state.
  std::function<void(const Kind& kind, ChangeType change, const SharedJson& object)> stored;
};

// Thread-safe. Errors are those that a client sees (errors.h).
class ObjectWriter {
 public:
  ObjectWriter(Store& store, const base::Clock& clock, WriteHooks hooks);

  absl::StatusOr<WriteResult> Create(const ResourceRequest& request, boost::json::value body);

  // From an object as the request's version shows it to the one that is wanted.
  using Change = std::function<absl::StatusOr<boost::json::value>(const boost::json::value&)>;

  // Changes the object that `request` names, or the part of it that its subresource is. When the
  // object changes meanwhile and the wanted one names no resourceVersion, `change` is called again.
  absl::StatusOr<WriteResult> Update(const ResourceRequest& request, const Change& change);

  absl::StatusOr<WriteResult> Delete(const ResourceRequest& request,
                                     const DeleteParameters& parameters);

  StoreKey KeyOf(const ResourceRequest& request) const;
  // What the request names, or 404.
  absl::StatusOr<StoredObject> Existing(const ResourceRequest& request) const;

 private:
  absl::Status CheckNamespace(const ResourceRequest& request, std::string_view name) const;
  absl::StatusOr<WriteResult> TryUpdate(const ResourceRequest& request, const Change& change,
                                        bool& retry);
  absl::StatusOr<WriteResult> TryDelete(const ResourceRequest& request,
                                        const DeleteParameters& parameters, bool& retry);
  absl::StatusOr<WriteResult> Remove(const ResourceRequest& request, const StoredObject& current,
                                     boost::json::value object, bool& retry);

  Store& store_;
  const base::Clock& clock_;
  const WriteHooks hooks_;
};

}  // namespace local_cluster
