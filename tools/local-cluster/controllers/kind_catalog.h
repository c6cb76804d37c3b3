// Which kinds of objects there are, besides those that a loop knows by name.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"

#include "common/kube/client.h"

namespace local_cluster {

// The built-in kinds that can own something or live in a namespace, and those of CRDs. Thread-safe.
class KindCatalog {
 public:
  KindCatalog();

  // Takes the kind of an established CRD, or its change of version. Returns it when it is new.
  std::optional<kube::Resource> PutCrd(const kube::Object& crd);
  void RemoveCrd(std::string_view name);

  std::vector<kube::Resource> All() const;
  // By "apps/v1" and "StatefulSet"; of a group any version will do.
  std::optional<kube::Resource> Find(std::string_view api_version, std::string_view kind) const;

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, kube::Resource> kinds_ ABSL_GUARDED_BY(mutex_);  // By "plural.group".
};

}  // namespace local_cluster
