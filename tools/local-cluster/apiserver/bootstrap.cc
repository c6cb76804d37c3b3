#include "local-cluster/apiserver/bootstrap.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"

namespace local_cluster {
namespace {

using boost::json::object;

absl::Status CreateIfMissing(kube::Client& client, const kube::Resource& resource, object json) {
  json["apiVersion"] = resource.api_version();
  json["kind"] = resource.kind;
  const absl::Status status =
      client.Create(resource, kube::Object(boost::json::value(std::move(json)))).status();
  return absl::IsAlreadyExists(status) ? absl::OkStatus() : status;
}

}  // namespace

absl::Status FillNamespace(kube::Client& client, std::string_view name, const std::string& ca_pem) {
  const object account{{"name", "default"}, {"namespace", name}};
  RETURN_IF_ERROR(
      CreateIfMissing(client, kube::resources::kServiceAccounts, {{"metadata", account}}));
  const object map{{"name", "kube-root-ca.crt"}, {"namespace", name}};
  return CreateIfMissing(client, kube::resources::kConfigMaps,
                         {{"metadata", map}, {"data", object{{"ca.crt", ca_pem}}}});
}

absl::Status CreateFirstObjects(kube::Client& client, const std::string& ca_pem) {
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    RETURN_IF_ERROR(CreateIfMissing(client, kube::resources::kNamespaces,
                                    {{"metadata", object{{"name", name}}}}));
    RETURN_IF_ERROR(FillNamespace(client, name, ca_pem));
  }
  return absl::OkStatus();
}

}  // namespace local_cluster
