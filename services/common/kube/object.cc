#include "common/kube/object.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace kube {
namespace json = boost::json;
namespace {

const std::shared_ptr<json::value>& EmptyValue() {
  static const auto* const value =
      new std::shared_ptr<json::value>(std::make_shared<json::value>(json::object()));
  return *value;
}

std::map<std::string, std::string> StringMap(const json::value* value) {
  std::map<std::string, std::string> map;
  const json::object* object = value == nullptr ? nullptr : value->if_object();
  if (object == nullptr) return map;
  for (const auto& member : *object) {
    const json::string* text = member.value().if_string();
    if (text != nullptr) map.emplace(std::string_view(member.key()), std::string_view(*text));
  }
  return map;
}

OwnerReference ParseOwner(const json::value& value) {
  return {.api_version = std::string(StringAt(value, {"apiVersion"})),
          .kind = std::string(StringAt(value, {"kind"})),
          .name = std::string(StringAt(value, {"name"})),
          .uid = std::string(StringAt(value, {"uid"})),
          .controller = BoolAt(value, {"controller"}),
          .block_owner_deletion = BoolAt(value, {"blockOwnerDeletion"})};
}

}  // namespace

Object::Object() : value_(EmptyValue()) {}

Object::Object(json::value value) : value_(std::make_shared<json::value>(std::move(value))) {}

absl::StatusOr<Object> Object::Parse(std::string_view text) {
  absl::StatusOr<json::value> value = ParseJson(text);
  if (!value.ok()) return value.status();
  if (!value->is_object()) return absl::InvalidArgumentError("not a JSON object");
  return Object(*std::move(value));
}

json::value& Object::mutable_json() {
  // Counting through a copy of our own synchronises with the threads that let go of theirs;
  // use_count() alone is a relaxed load.
  const std::shared_ptr<json::value> probe = value_;
  if (probe.use_count() > 2) value_ = std::make_shared<json::value>(*probe);
  return *value_;
}

std::string_view Object::api_version() const { return StringAt({"apiVersion"}); }
std::string_view Object::kind() const { return StringAt({"kind"}); }
std::string_view Object::name() const { return StringAt({"metadata", "name"}); }
std::string_view Object::namespace_name() const { return StringAt({"metadata", "namespace"}); }

ObjectKey Object::key() const {
  return {.namespace_name = std::string(namespace_name()), .name = std::string(name())};
}

std::string_view Object::uid() const { return StringAt({"metadata", "uid"}); }
std::string_view Object::resource_version() const {
  return StringAt({"metadata", "resourceVersion"});
}
int64_t Object::generation() const { return IntAt({"metadata", "generation"}); }

std::map<std::string, std::string> Object::labels() const {
  return StringMap(Find({"metadata", "labels"}));
}
std::map<std::string, std::string> Object::annotations() const {
  return StringMap(Find({"metadata", "annotations"}));
}
std::string_view Object::label(std::string_view name) const {
  return StringAt({"metadata", "labels", name});
}
std::string_view Object::annotation(std::string_view name) const {
  return StringAt({"metadata", "annotations", name});
}

std::vector<std::string> Object::finalizers() const {
  return kube::StringsAt(*value_, {"metadata", "finalizers"});
}
bool Object::HasFinalizer(std::string_view finalizer) const {
  for (const std::string& present : finalizers()) {
    if (present == finalizer) return true;
  }
  return false;
}

std::vector<OwnerReference> Object::owner_references() const {
  std::vector<OwnerReference> owners;
  const json::value* found = Find({"metadata", "ownerReferences"});
  const json::array* array = found == nullptr ? nullptr : found->if_array();
  if (array == nullptr) return owners;
  for (const json::value& element : *array) owners.push_back(ParseOwner(element));
  return owners;
}

std::optional<OwnerReference> Object::controller() const {
  for (OwnerReference& owner : owner_references()) {
    if (owner.controller) return std::move(owner);
  }
  return std::nullopt;
}

std::optional<absl::Time> Object::creation_time() const {
  return ParseTime(StringAt({"metadata", "creationTimestamp"}));
}
std::optional<absl::Time> Object::deletion_time() const {
  return ParseTime(StringAt({"metadata", "deletionTimestamp"}));
}

void Object::SetLabel(std::string_view name, std::string_view value) {
  json::string copy(value);  // `value` may point into this very object, which may move.
  MakePath(mutable_json(), {"metadata", "labels", name}) = std::move(copy);
}
void Object::SetAnnotation(std::string_view name, std::string_view value) {
  json::string copy(value);
  MakePath(mutable_json(), {"metadata", "annotations", name}) = std::move(copy);
}

void Object::AddOwnerReference(const OwnerReference& owner) {
  json::value& owners = MakePath(mutable_json(), {"metadata", "ownerReferences"});
  if (!owners.is_array()) owners = json::array();
  json::object reference{{"apiVersion", owner.api_version},
                         {"kind", owner.kind},
                         {"name", owner.name},
                         {"uid", owner.uid}};
  if (owner.controller) reference["controller"] = true;
  if (owner.block_owner_deletion) reference["blockOwnerDeletion"] = true;
  for (json::value& present : owners.as_array()) {
    if (kube::StringAt(present, {"uid"}) == owner.uid) {
      present = std::move(reference);
      return;
    }
  }
  owners.as_array().push_back(std::move(reference));
}

const json::value* Object::Find(std::initializer_list<std::string_view> path) const {
  return FindPath(*value_, path);
}
std::string_view Object::StringAt(std::initializer_list<std::string_view> path) const {
  return kube::StringAt(*value_, path);
}
int64_t Object::IntAt(std::initializer_list<std::string_view> path, int64_t otherwise) const {
  return kube::IntAt(*value_, path, otherwise);
}
bool Object::BoolAt(std::initializer_list<std::string_view> path, bool otherwise) const {
  return kube::BoolAt(*value_, path, otherwise);
}

std::string Object::ToJson() const { return json::serialize(*value_); }

bool Object::operator==(const Object& other) const {
  return value_ == other.value_ || *value_ == *other.value_;
}

}  // namespace kube
