#include "local-cluster/supervisor/crds.h"

#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "common/net/digest.h"

namespace local_cluster {
namespace {

namespace json = boost::json;
using kube::resources::kCustomResourceDefinitions;

// What was applied last: the server fills in defaults, so the objects themselves cannot be
// compared.
constexpr char kHashAnnotation[] = "local-cluster.kaito.sh/applied-hash";

absl::Status ApplyCrd(kube::Client& client, kube::Object crd) {
  crd.SetAnnotation(kHashAnnotation, net::Sha256Hex(kube::CanonicalJson(crd.json())));
  const absl::StatusOr<kube::Object> existing = client.Get(kCustomResourceDefinitions, crd.key());
  if (absl::IsNotFound(existing.status())) {
    RETURN_IF_ERROR(client.Create(kCustomResourceDefinitions, crd).status());
    base::LogInfo("crd installed", {{"crd", crd.name()}});
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(existing.status());
  if (existing->annotation(kHashAnnotation) == crd.annotation(kHashAnnotation)) {
    return absl::OkStatus();
  }
  kube::MakePath(crd.mutable_json(), {"metadata"}).as_object()["resourceVersion"] =
      std::string(existing->resource_version());
  RETURN_IF_ERROR(client.Update(kCustomResourceDefinitions, crd).status());
  base::LogInfo("crd updated", {{"crd", crd.name()}});
  return absl::OkStatus();
}

absl::Status ApplyFile(kube::Client& client, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path));
  absl::StatusOr<std::vector<json::value>> documents = kube::ParseYaml(text);
  if (!documents.ok()) return documents.status();
  for (json::value& document : *documents) {
    if (kube::StringAt(document, {"kind"}) != "CustomResourceDefinition") continue;
    document.as_object().erase("status");
    RETURN_IF_ERROR(ApplyCrd(client, kube::Object(std::move(document))));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyCrds(kube::Client& client, const std::string& folder) {
  ASSIGN_OR_RETURN(const std::vector<std::string> files, base::ListDirectory(folder));
  for (const std::string& file : files) {
    if (!file.ends_with(".yaml") && !file.ends_with(".yml")) continue;
    const std::string path = absl::StrFormat("%s/%s", folder, file);
    const absl::Status status = ApplyFile(client, path);
    if (!status.ok()) return base::Annotate(status, path);
  }
  return absl::OkStatus();
}

}  // namespace local_cluster
