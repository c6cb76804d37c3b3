// What exists in every cluster: its first namespaces, and what each namespace has.

#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

#include "common/kube/client.h"

namespace local_cluster {

// default, kube-system, kube-public and kube-node-lease with their contents; what is there stays.
absl::Status CreateFirstObjects(kube::Client& client, const std::string& ca_pem);

// ServiceAccount `default` and ConfigMap `kube-root-ca.crt` of a namespace.
absl::Status FillNamespace(kube::Client& client, std::string_view name, const std::string& ca_pem);

}  // namespace local_cluster
