#include "local-cluster/apiserver/object_writer.h"

#include <memory>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "common/kube/object.h"
#include "common/net/digest.h"
#include "local-cluster/apiserver/object_form.h"
#include "local-cluster/apiserver/schema/json_edit.h"

namespace local_cluster {
namespace {

using boost::json::object;
using boost::json::value;

constexpr int kTriesMax = 20;
constexpr char kModified[] =
    "the object has been modified; please apply your changes to the latest version and try again";

object& MetadataOf(value& whole) { return MakeObject(whole.as_object(), "metadata"); }
const object& MetadataOf(const value& whole) { return whole.at("metadata").as_object(); }

// Members other than metadata and status differ.
bool SpecChanged(const value& now, const value& old) {
  const object& a = now.get_object();
  const object& b = old.get_object();
  const auto counts = [](std::string_view name) {
    return name != "metadata" && name != "status" && name != "apiVersion";
  };
  for (const auto& member : a) {
    if (counts(member.key()) && !SameMember(a, b, member.key())) return true;
  }
  for (const auto& member : b) {
    if (counts(member.key()) && !a.contains(member.key()) && !SameMember(a, b, member.key())) {
      return true;
    }
  }
  return false;
}

// What only the server sets stays as it is.
void KeepSystemMetadata(object& metadata, const object& old) {
  for (const char* name :
       {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
        "generateName", "namespace", "name"}) {
    if (const value* before = old.if_contains(name)) {
      metadata[name] = *before;
    } else {
      metadata.erase(name);
    }
  }
}

void TakeMember(object& target, const object& source, std::string_view name) {
  if (const value* member = source.if_contains(name)) {
    target[name] = *member;
  } else {
    target.erase(name);
  }
}

// A write through one resource changes only its part: status, or all but status.
void SplitSubresource(const ResourceRequest& request, value& wanted, const value& current) {
  object& now = wanted.get_object();
  const object& old = current.get_object();
  if (request.subresource == "status") {
    object result = old;
    TakeMember(result, now, "status");
    // The precondition counts.
    TakeMember(MakeObject(result, "metadata"), MakeObject(now, "metadata"), "resourceVersion");
    TakeMember(MakeObject(result, "metadata"), MakeObject(now, "metadata"), "managedFields");
    wanted = std::move(result);
  } else if (request.subresource == "finalize") {
    object result = old;
    TakeMember(MakeObject(result, "spec"), MakeObject(now, "spec"), "finalizers");
    wanted = std::move(result);
  } else if (request.version->status && request.subresource != "binding") {
    TakeMember(now, old, "status");
  }
}

bool HasElements(const object& owner, std::string_view list) {
  const boost::json::array* array = ArrayIn(owner, list);
  return array != nullptr && !array->empty();
}

// A deletion has begun and nothing holds it up any more.
bool MayGo(const Kind& kind, const value& whole) {
  const object& metadata = MetadataOf(whole);
  if (!metadata.contains("deletionTimestamp") || HasElements(metadata, "finalizers")) return false;
  if (kind.custom) return true;
  if (kind.kind == "Pod") {
    return kube::IntAt(whole, {"metadata", "deletionGracePeriodSeconds"}) == 0;
  }
  if (kind.kind == "Namespace") {
    const object* spec = ObjectIn(whole.get_object(), "spec");
    return spec == nullptr || !HasElements(*spec, "finalizers");
  }
  return true;
}

absl::Status CheckPreconditions(const ResourceRequest& request, const DeleteParameters& parameters,
                                const value& current) {
  const std::string_view uid = kube::StringAt(current, {"metadata", "uid"});
  const std::string_view version = kube::StringAt(current, {"metadata", "resourceVersion"});
  if (!parameters.uid.empty() && parameters.uid != uid) {
    return ConflictError(request.kind->resource_name(), request.name,
                         absl::StrFormat("Precondition failed: UID in precondition: %s, UID in "
                                         "object meta: %s",
                                         parameters.uid, uid));
  }
  if (!parameters.resource_version.empty() && parameters.resource_version != version) {
    return ConflictError(request.kind->resource_name(), request.name,
                         absl::StrFormat("Precondition failed: ResourceVersion in precondition: "
                                         "%s, ResourceVersion in object meta: %s",
                                         parameters.resource_version, version));
  }
  return absl::OkStatus();
}

void AddFinalizer(object& metadata, std::string_view name) {
  value& list = metadata["finalizers"];
  if (!list.is_array()) list = boost::json::array();
  for (const value& one : list.get_array()) {
    if (one == value(name)) return;
  }
  list.get_array().emplace_back(name);
}

// 0 where a Pod need not be waited for.
int64_t GraceOf(const Kind& kind, const value& current, const DeleteParameters& parameters) {
  if (kind.custom || kind.kind != "Pod") return 0;
  const std::string_view phase = kube::StringAt(current, {"status", "phase"});
  if (kube::StringAt(current, {"spec", "nodeName"}).empty() || phase == "Succeeded" ||
      phase == "Failed") {
    return 0;
  }
  return parameters.grace_period_seconds.value_or(
      kube::IntAt(current, {"spec", "terminationGracePeriodSeconds"}, 30));
}

std::string RandomSuffix() {
  static constexpr char kAlphabet[] = "bcdfghjklmnpqrstvwxz2456789";
  const std::string hex = net::RandomHex(10);
  std::string suffix;
  for (int i = 0; i < 5; ++i) {
    const int byte = std::stoi(hex.substr(2 * i, 2), nullptr, 16);
    suffix += kAlphabet[byte % (sizeof(kAlphabet) - 1)];
  }
  return suffix;
}

absl::Status LogFailure(const absl::Status& status) {
  return InternalError(std::string(status.message()));
}

}  // namespace

ObjectWriter::ObjectWriter(Store& store, const base::Clock& clock, WriteHooks hooks)
    : store_(store), clock_(clock), hooks_(std::move(hooks)) {}

StoreKey ObjectWriter::KeyOf(const ResourceRequest& request) const {
  return {request.kind->storage, request.namespace_name, request.name};
}

absl::StatusOr<StoredObject> ObjectWriter::Existing(const ResourceRequest& request) const {
  StoredObject stored = store_.Get(KeyOf(request));
  if (!stored) return NotFoundError(request.kind->resource_name(), request.name);
  return stored;
}

absl::Status ObjectWriter::CheckNamespace(const ResourceRequest& request,
                                          std::string_view name) const {
  if (!request.kind->namespaced) return absl::OkStatus();
  const StoredObject found = store_.Get({"/namespaces", "", request.namespace_name});
  if (!found) return NotFoundError({"", "namespaces", "Namespace"}, request.namespace_name);
  if (kube::StringAt(*found.value, {"status", "phase"}) != "Terminating") return absl::OkStatus();
  ApiError error = FromStatus(ForbiddenError(
      request.kind->resource_name(), name,
      absl::StrFormat("unable to create new content in namespace %s because it is being terminated",
                      request.namespace_name)));
  error.causes.push_back(
      {"NamespaceTerminating", "metadata.namespace",
       absl::StrFormat("namespace %s is being terminated", request.namespace_name)});
  return ToStatus(error);
}

absl::StatusOr<WriteResult> ObjectWriter::Create(const ResourceRequest& request, value body) {
  WriteResult result;
  result.created = true;
  RETURN_IF_ERROR(ToStorage(request, body, result.warnings));
  object& metadata = MetadataOf(body);
  const std::string in_body(StringIn(metadata, "namespace"));
  if (request.kind->namespaced && !in_body.empty() && in_body != request.namespace_name) {
    return BadRequestError(
        "the namespace of the provided object does not match the namespace sent on the request");
  }
  if (request.kind->namespaced) {
    metadata["namespace"] = request.namespace_name;
  } else {
    metadata.erase("namespace");
  }
  if (!StringIn(metadata, "resourceVersion").empty()) {
    return BadRequestError("resourceVersion should not be set on objects to be created");
  }
  const bool generated =
      StringIn(metadata, "name").empty() && !StringIn(metadata, "generateName").empty();
  if (generated) {
    metadata["name"] =
        std::string(StringIn(metadata, "generateName").substr(0, 58)) + RandomSuffix();
  }
  const std::string name(StringIn(metadata, "name"));
  RETURN_IF_ERROR(CheckNamespace(request, name));
  for (const char* member :
       {"deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "generation"}) {
    metadata.erase(member);
  }
  metadata["uid"] = net::RandomUuid();
  metadata["creationTimestamp"] = kube::FormatTime(clock_.Now());
  if (request.kind->has_generation()) metadata["generation"] = 1;
  if (request.version->status) body.get_object().erase("status");
  FillDefaults(*request.kind, body);
  if (hooks_.admit) RETURN_IF_ERROR(hooks_.admit(request, body, nullptr, result.warnings));
  RETURN_IF_ERROR(ValidateObject(request, body, nullptr));

  const StoreKey key{request.kind->storage, request.namespace_name, name};
  if (request.options.dry_run) {
    if (store_.Get(key)) return AlreadyExistsError(request.kind->resource_name(), name);
    result.object = std::make_shared<const value>(std::move(body));
    return result;
  }
  const absl::StatusOr<StoredObject> stored = store_.Put(key, 0, std::move(body));
  if (absl::IsAlreadyExists(stored.status())) {
    return AlreadyExistsError(request.kind->resource_name(), name);
  }
  if (!stored.ok()) return LogFailure(stored.status());
  result.object = stored->value;
  if (hooks_.stored) hooks_.stored(*request.kind, ChangeType::kAdded, result.object);
  return result;
}

absl::StatusOr<WriteResult> ObjectWriter::Update(const ResourceRequest& request,
                                                 const Change& change) {
  for (int i = 0; i < kTriesMax; ++i) {
    bool retry = false;
    absl::StatusOr<WriteResult> result = TryUpdate(request, change, retry);
    if (!retry) return result;
  }
  return ConflictError(request.kind->resource_name(), request.name, kModified);
}

absl::StatusOr<WriteResult> ObjectWriter::TryUpdate(const ResourceRequest& request,
                                                    const Change& change, bool& retry) {
  ASSIGN_OR_RETURN(const StoredObject current, Existing(request));
  const Kind& kind = *request.kind;
  const value& old = *current.value;
  WriteResult result;
  const SharedJson shown = ToVersion(kind, *request.version, current.value);
  ASSIGN_OR_RETURN(value wanted, change(*shown));
  RETURN_IF_ERROR(ToStorage(request, wanted, result.warnings));

  object& metadata = MetadataOf(wanted);
  const std::string_view name = StringIn(metadata, "name");
  if (!name.empty() && name != request.name) {
    return BadRequestError(absl::StrFormat(
        "the name of the object (%s) does not match the name on the URL (%s)", name, request.name));
  }
  const std::string_view in_body = StringIn(metadata, "namespace");
  if (!in_body.empty() && in_body != request.namespace_name) {
    return BadRequestError(
        "the namespace of the object does not match the namespace on the request");
  }
  const std::string_view version = StringIn(metadata, "resourceVersion");
  const bool conditional = !version.empty() && version != "0";
  if (!conditional && (kind.custom || !kind.strategy.unconditional_update)) {
    return InvalidError(kind.resource_name(), request.name,
                        {{"FieldValueInvalid", "metadata.resourceVersion",
                          "Invalid value: 0x0: must be specified for an update"}});
  }
  const std::string_view uid = StringIn(metadata, "uid");
  if (!uid.empty() && uid != StringIn(MetadataOf(old), "uid")) {
    DeleteParameters wrong;
    wrong.uid = uid;
    return CheckPreconditions(request, wrong, old);
  }
  if (conditional && version != StringIn(MetadataOf(old), "resourceVersion")) {
    return ConflictError(kind.resource_name(), request.name, kModified);
  }
  SplitSubresource(request, wanted, old);
  KeepSystemMetadata(MetadataOf(wanted), MetadataOf(old));
  FillDefaults(kind, wanted);
  if (hooks_.admit) RETURN_IF_ERROR(hooks_.admit(request, wanted, &old, result.warnings));
  MetadataOf(wanted)["resourceVersion"] = StringIn(MetadataOf(old), "resourceVersion");
  if (wanted == old) {
    result.object = current.value;
    return result;
  }
  if (kind.has_generation() && SpecChanged(wanted, old)) {
    MetadataOf(wanted)["generation"] = kube::IntAt(old, {"metadata", "generation"}) + 1;
  }
  RETURN_IF_ERROR(ValidateObject(request, wanted, &old));
  if (request.options.dry_run) {
    result.object = std::make_shared<const value>(std::move(wanted));
    return result;
  }
  if (MayGo(kind, wanted)) return Remove(request, current, std::move(wanted), retry);

  const absl::StatusOr<StoredObject> stored =
      store_.Put(KeyOf(request), current.revision, std::move(wanted));
  if (absl::IsAborted(stored.status())) {
    retry = true;  // A write that names its revision then meets the check above.
    return ConflictError(kind.resource_name(), request.name, kModified);
  }
  if (absl::IsNotFound(stored.status())) return NotFoundError(kind.resource_name(), request.name);
  if (!stored.ok()) return LogFailure(stored.status());
  result.object = stored->value;
  if (hooks_.stored) hooks_.stored(kind, ChangeType::kModified, result.object);
  return result;
}

absl::StatusOr<WriteResult> ObjectWriter::Remove(const ResourceRequest& request,
                                                 const StoredObject& current, value object,
                                                 bool& retry) {
  WriteResult result;
  result.gone = true;
  result.object = std::make_shared<const value>(std::move(object));
  const absl::StatusOr<StoredObject> removed = store_.Delete(KeyOf(request), current.revision);
  if (absl::IsAborted(removed.status())) {
    retry = true;
    return ConflictError(request.kind->resource_name(), request.name, kModified);
  }
  if (absl::IsNotFound(removed.status())) {
    return NotFoundError(request.kind->resource_name(), request.name);
  }
  if (!removed.ok()) return LogFailure(removed.status());
  if (hooks_.stored) hooks_.stored(*request.kind, ChangeType::kDeleted, result.object);
  return result;
}

absl::StatusOr<WriteResult> ObjectWriter::Delete(const ResourceRequest& request,
                                                 const DeleteParameters& parameters) {
  for (int i = 0; i < kTriesMax; ++i) {
    bool retry = false;
    absl::StatusOr<WriteResult> result = TryDelete(request, parameters, retry);
    if (!retry) return result;
  }
  return ConflictError(request.kind->resource_name(), request.name, kModified);
}

absl::StatusOr<WriteResult> ObjectWriter::TryDelete(const ResourceRequest& request,
                                                    const DeleteParameters& parameters,
                                                    bool& retry) {
  ASSIGN_OR_RETURN(const StoredObject current, Existing(request));
  const Kind& kind = *request.kind;
  const value& old = *current.value;
  RETURN_IF_ERROR(CheckPreconditions(request, parameters, old));
  value wanted = old;
  object& metadata = MetadataOf(wanted);
  const bool first = !metadata.contains("deletionTimestamp");
  int64_t grace = GraceOf(kind, old, parameters);
  if (!first) {
    // A later deletion can only shorten the wait.
    grace = std::min(grace, kube::IntAt(old, {"metadata", "deletionGracePeriodSeconds"}));
  }
  if (first && parameters.propagation == "Foreground") AddFinalizer(metadata, "foregroundDeletion");
  if (first && parameters.propagation == "Orphan") AddFinalizer(metadata, "orphan");
  if (first || grace != kube::IntAt(old, {"metadata", "deletionGracePeriodSeconds"})) {
    metadata["deletionTimestamp"] = kube::FormatTime(clock_.Now() + absl::Seconds(grace));
    metadata["deletionGracePeriodSeconds"] = grace;
    if (first && kind.has_generation()) {
      metadata["generation"] = kube::IntAt(old, {"metadata", "generation"}) + 1;
    }
  }
  if (first && !kind.custom && kind.kind == "Namespace") {
    MakeObject(wanted.get_object(), "status")["phase"] = "Terminating";
  }
  WriteResult result;
  if (request.options.dry_run || wanted == old) {
    result.gone = MayGo(kind, wanted);
    result.object = std::make_shared<const value>(std::move(wanted));
    if (request.options.dry_run || !result.gone) return result;
    return Remove(request, current, *result.object, retry);
  }
  if (MayGo(kind, wanted)) return Remove(request, current, old, retry);
  const absl::StatusOr<StoredObject> stored =
      store_.Put(KeyOf(request), current.revision, std::move(wanted));
  if (absl::IsAborted(stored.status())) {
    retry = true;
    return ConflictError(kind.resource_name(), request.name, kModified);
  }
  if (!stored.ok()) return LogFailure(stored.status());
  result.object = stored->value;
  if (hooks_.stored) hooks_.stored(kind, ChangeType::kModified, result.object);
  return result;
}

}  // namespace local_cluster
