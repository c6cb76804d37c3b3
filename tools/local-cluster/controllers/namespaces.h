// Namespaces: what each one has from the start, and its end.

#pragma once

#include <string>

#include "common/kube/client.h"
#include "common/kube/controller.h"
#include "local-cluster/controllers/kind_catalog.h"

namespace local_cluster {

// A living namespace gets its service account `default` and its ConfigMap kube-root-ca.crt. One
// that is Terminating is emptied, then let go.
class NamespaceReconciler final : public kube::Reconciler {
 public:
  NamespaceReconciler(kube::Client& client, const KindCatalog& catalog, std::string ca_pem)
      : client_(client), catalog_(catalog), ca_pem_(std::move(ca_pem)) {}
  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& key) override;

 private:
  absl::Status Furnish(const std::string& name);
  // How many objects are left.
  absl::StatusOr<int> Empty(const std::string& name);
  absl::Status Finalize(const kube::Object& object);

  kube::Client& client_;
  const KindCatalog& catalog_;
  const std::string ca_pem_;
};

}  // namespace local_cluster
