// The informers of this process, and an index of their objects by Workspace.

#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/synchronization/mutex.h"

#include "common/base/clock.h"
#include "common/kube/client.h"
#include "common/kube/informer.h"
#include "workspace-controller/object_reader.h"

namespace workspace_controller {

// Thread-safe once started.
class InformerReader final : public ObjectReader {
 public:
  // One informer per kind that the reconciler reads; where users bring their nodes there are no
  // claims, and nothing is found of that kind. `client` is borrowed.
  InformerReader(kube::Client& client, bool with_node_claims, metrics::Registry* registry);
  ~InformerReader() override;

  // For Controller::Watch…(): before Start(). Handlers added there run after the index is current.
  kube::Informer& informer(const kube::Resource& resource);
  bool has(const kube::Resource& resource) const { return entry(resource) != nullptr; }

  void Start();
  void Stop();
  // Whether every kind that must exist has been listed once.
  bool synced() const;

  std::optional<kube::Object> Find(const kube::Resource& resource,
                                   const kube::ObjectKey& key) const override;
  std::vector<kube::Object> All(const kube::Resource& resource) const override;
  std::vector<kube::Object> OfWorkspace(const kube::Resource& resource,
                                        const kube::ObjectKey& workspace) const override;

 private:
  struct Entry {
    std::unique_ptr<kube::Informer> informer;
    mutable absl::Mutex mutex;
    std::map<kube::ObjectKey, std::set<kube::ObjectKey>> by_workspace ABSL_GUARDED_BY(mutex);
  };

  void Add(kube::Client& client, const kube::Resource& resource, kube::InformerOptions options);
  const Entry* entry(const kube::Resource& resource) const;

  std::map<std::string, std::unique_ptr<Entry>> entries_;  // By plural.
};

}  // namespace workspace_controller
