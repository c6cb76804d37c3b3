// What the tests of this folder share: a Workspace, nodes, claims, and a cluster in memory.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"

#include "common/catalog/gpu_types.h"
#include "common/catalog/presets.h"
#include "common/kube/client.h"
#include "workspace-controller/decision.h"
#include "workspace-controller/object_reader.h"
#include "workspace-controller/observed.h"
#include "workspace-controller/workspace.h"

namespace workspace_controller {

const catalog::Presets& ShippedPresets();
const catalog::GpuTypes& ShippedTypes();

// Workspace ns/ws of the acceptance scenarios: one A100 node, label apps=x, the given preset.
kube::Object WorkspaceObject(std::string_view preset = "phi-4-mini-instruct");

// The same with a change: `patch` is a JSON merge patch.
kube::Object Patched(kube::Object object, std::string_view patch);

Workspace Read(const kube::Object& object);

// A ready node of that type, made for ns/ws, whose GPU is there.
kube::Object NodeObject(std::string_view name,
                        std::string_view instance_type = "Standard_NC24ads_A100_v4");

// A claim of ns/ws whose node is `node`; ready, or as far as its conditions say.
kube::Object ClaimObject(std::string_view name, std::string_view node, bool is_ready = true);

// What a reconcile would observe of `workspace`, with nothing there yet.
Observed ObservedFor(const Workspace& workspace);

// An API server in memory, and a cache that is behind only where a test says so. Create, get, list
// by labels, merge patch, apply (as a merge), delete with finalizers. Thread-safe.
class MemoryCluster final : public kube::Transport, public ObjectReader {
 public:
  void Put(const kube::Resource& resource, kube::Object object);
  void Remove(const kube::Resource& resource, const kube::ObjectKey& key);

  // The cache shows no object of this kind, as if its watch were behind.
  void HideFromCache(const kube::Resource& resource);

  // Refuses calls for which `refusal` gives an answer.
  void RefuseWith(std::function<std::optional<net::Response>(const net::Request&)> refusal);

  // "POST /apis/…" of every write, in order.
  std::vector<std::string> writes() const;
  void ForgetWrites();

  std::optional<kube::Object> Find(const kube::Resource& resource,
                                   const kube::ObjectKey& key) const override;
  std::vector<kube::Object> All(const kube::Resource& resource) const override;
  std::vector<kube::Object> OfWorkspace(const kube::Resource& resource,
                                        const kube::ObjectKey& workspace) const override;

  absl::StatusOr<net::Response> Send(const net::Request& request, absl::Duration timeout) override;
  absl::StatusOr<std::unique_ptr<net::HttpStream>> Open(const net::Request& request,
                                                        absl::Duration timeout) override;

 private:
  net::Response Write(const net::Request& request, std::string_view path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  net::Response ReadOne(std::string_view path) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::map<std::string, kube::Object, std::less<>> objects_ ABSL_GUARDED_BY(mutex_);  // By path.
  std::string hidden_ ABSL_GUARDED_BY(mutex_);                                        // Plural.
  std::vector<std::string> writes_ ABSL_GUARDED_BY(mutex_);
  std::function<std::optional<net::Response>(const net::Request&)> refusal_ ABSL_GUARDED_BY(mutex_);
  int64_t version_ ABSL_GUARDED_BY(mutex_) = 100;
};

}  // namespace workspace_controller
