#include "local-cluster/apiserver/object_form.h"

#include <memory>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "local-cluster/apiserver/object_meta.h"
#include "local-cluster/apiserver/schema/builtin.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/schema/normalize.h"
#include "local-cluster/apiserver/schema/validate.h"

namespace local_cluster {
namespace {

std::string StorageApiVersion(const Kind& kind) {
  const std::string group = kind.storage.substr(0, kind.storage.find('/'));
  return group.empty() ? kind.storage_version : group + "/" + kind.storage_version;
}

absl::Status CheckHeader(const ResourceRequest& request, boost::json::object& object) {
  const Kind& kind = *request.kind;
  const std::string_view its_kind = StringIn(object, "kind");
  const std::string_view version = StringIn(object, "apiVersion");
  if (kind.custom && its_kind.empty()) {
    return BadRequestError(absl::StrFormat("Object 'Kind' is missing in '%s'",
                                           boost::json::serialize(object).substr(0, 200)));
  }
  if (!its_kind.empty() && its_kind != kind.kind) {
    return BadRequestError(absl::StrFormat(
        "%s in version \"%s\" cannot be handled as a %s: converting (%s) to (%s): unknown "
        "conversion",
        its_kind, version, kind.kind, its_kind, kind.kind));
  }
  if (!version.empty() && version != request.api_version()) {
    return BadRequestError(
        absl::StrFormat("the API version in the data (%s) does not match the expected API version "
                        "(%s)",
                        version, request.api_version()));
  }
  object["kind"] = kind.kind;
  object["apiVersion"] = request.api_version();
  return absl::OkStatus();
}

absl::Status ReportUnknown(const ResourceRequest& request, const std::vector<std::string>& unknown,
                           std::vector<std::string>& warnings) {
  if (request.options.field_validation == FieldValidation::kIgnore) return absl::OkStatus();
  std::string all;
  for (const std::string& path : unknown) {
    const std::string text = absl::StrFormat("unknown field \"%s\"", path);
    all += (all.empty() ? "" : ", ") + text;
    warnings.push_back(text);
  }
  if (all.empty() || request.options.field_validation != FieldValidation::kStrict) {
    return absl::OkStatus();
  }
  return BadRequestError(
      absl::StrFormat("%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s",
                      request.kind->kind, request.version->name, request.kind->kind, all));
}

}  // namespace

absl::Status ToStorage(const ResourceRequest& request, boost::json::value& object,
                       std::vector<std::string>& warnings) {
  if (!object.is_object()) return BadRequestError("the object provided is no JSON object");
  RETURN_IF_ERROR(CheckHeader(request, object.get_object()));
  const Kind& kind = *request.kind;
  boost::json::object& metadata = MakeObject(object.get_object(), "metadata");
  if (kind.custom) {
    RETURN_IF_ERROR(
        Decode(object.get_object()["metadata"], ObjectMetaSchema(), kind.kind, "metadata"));
  } else {
    RETURN_IF_ERROR(Decode(object, *request.version->schema, kind.kind));
  }
  metadata.erase("selfLink");
  metadata.erase("managedFields");
  std::vector<std::string> unknown;
  if (request.version->schema != nullptr) Prune(object, *request.version->schema, "", unknown);
  RETURN_IF_ERROR(ReportUnknown(request, unknown, warnings));
  if (kind.strategy.to_storage != nullptr) kind.strategy.to_storage(object.get_object());
  object.get_object()["apiVersion"] = StorageApiVersion(kind);
  return absl::OkStatus();
}

SharedJson ToVersion(const Kind& kind, const KindVersion& version, SharedJson stored) {
  if (stored == nullptr) return stored;
  const bool same_version =
      version.name == kind.storage_version && kind.strategy.from_storage == nullptr;
  if (!kind.custom && same_version) return stored;
  boost::json::value object = *stored;
  if (kind.strategy.from_storage != nullptr) kind.strategy.from_storage(object.get_object());
  object.get_object()["apiVersion"] =
      kind.group.empty() ? version.name : kind.group + "/" + version.name;
  // A default may be younger than the object.
  if (kind.custom && version.schema != nullptr) {
    std::vector<std::string> unknown;
    Prune(object, *version.schema, "", unknown);
    ApplyDefaults(object, *version.schema);
  }
  return std::make_shared<const boost::json::value>(std::move(object));
}

void FillDefaults(const Kind& kind, boost::json::value& object) {
  if (kind.custom) {
    const KindVersion* version = kind.Version(kind.storage_version);
    if (version != nullptr && version->schema != nullptr) ApplyDefaults(object, *version->schema);
  } else if (kind.strategy.set_defaults != nullptr) {
    kind.strategy.set_defaults(object.get_object());
  }
}

absl::Status ValidateObject(const ResourceRequest& request, const boost::json::value& object,
                            const boost::json::value* old) {
  const Kind& kind = *request.kind;
  std::vector<ErrorCause> causes;
  const boost::json::object& top = object.get_object();
  const boost::json::object* old_top = old == nullptr ? nullptr : &old->get_object();
  const boost::json::object* metadata = ObjectIn(top, "metadata");
  if (metadata == nullptr) return InternalError("object without metadata");
  ValidateMetadata(*metadata, old_top == nullptr ? nullptr : ObjectIn(*old_top, "metadata"), kind,
                   causes);
  if (kind.custom) {
    const KindVersion* version = kind.Version(kind.storage_version);
    if (version != nullptr && version->schema != nullptr) {
      ValidateBySchema(object, old, *version->schema, causes);
    }
  }
  if (kind.strategy.validate != nullptr) kind.strategy.validate(top, old_top, causes);
  if (causes.empty()) return absl::OkStatus();
  return InvalidError(kind.resource_name(), StringIn(*metadata, "name"), std::move(causes));
}

}  // namespace local_cluster
