// Which kinds are served at the moment: follows the CRDs in the store.

#pragma once

#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"

#include "common/base/clock.h"
#include "common/kube/client.h"
#include "local-cluster/apiserver/kinds.h"
#include "local-cluster/apiserver/storage/store.h"

namespace local_cluster {

// A CRD is served before its condition Established is True. A CRD that is deleted takes its objects
// along, and waits for their finalizers. Thread-safe.
class CrdManager {
 public:
  // `client` writes status and finalizers; it may be used from Stored() on.
  CrdManager(Store& store, const base::Clock& clock, kube::Client& client);

  std::shared_ptr<const KindRegistry> kinds() const;

  // Serves what the store has at start.
  void Load();

  // To be called after every write.
  void Stored(const Kind& kind, ChangeType change, const SharedJson& object);

 private:
  void Install(const boost::json::value& crd);
  void Remove(const boost::json::value& crd);
  void Accept(const boost::json::value& crd);
  void Terminate(const boost::json::value& crd);
  void WriteStatus(const boost::json::value& crd, bool established);

  Store& store_;
  const base::Clock& clock_;
  kube::Client& client_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const KindRegistry> kinds_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace local_cluster
