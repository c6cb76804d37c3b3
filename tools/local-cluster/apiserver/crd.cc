#include "local-cluster/apiserver/crd.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "local-cluster/apiserver/json_path.h"
#include "local-cluster/apiserver/object_meta.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/schema/normalize.h"
#include "local-cluster/apiserver/schema/structural.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

constexpr std::string_view kBuiltinGroups[] = {"apps",
                                               "batch",
                                               "policy",
                                               "autoscaling",
                                               "events.k8s.io",
                                               "storage.k8s.io",
                                               "apiextensions.k8s.io",
                                               "rbac.authorization.k8s.io"};

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

const array& VersionsOf(const object& crd) {
  static const array kNone;
  const object* spec = ObjectIn(crd, "spec");
  const array* versions = spec == nullptr ? nullptr : ArrayIn(*spec, "versions");
  return versions == nullptr ? kNone : *versions;
}

void ValidateVersion(const value& version, const std::string& at, std::vector<ErrorCause>& causes) {
  if (!IsDnsLabel(kube::StringAt(version, {"name"}))) {
    causes.push_back(InvalidField(at + ".name", JsonText(kube::StringAt(version, {"name"})),
                                  "a DNS-1035 label must consist of lower case alphanumeric "
                                  "characters or '-'"));
  }
  const value* schema = kube::FindPath(version, {"schema", "openAPIV3Schema"});
  if (schema == nullptr) {
    causes.push_back(RequiredField(at + ".schema.openAPIV3Schema", "schemas are required"));
    return;
  }
  if (kube::StringAt(*schema, {"type"}) != "object") {
    causes.push_back(InvalidField(at + ".schema.openAPIV3Schema.type",
                                  JsonText(kube::StringAt(*schema, {"type"})),
                                  "must be object at the root"));
  }
  SchemaArena arena;
  ParseStructural(*schema, at + ".schema.openAPIV3Schema", arena, causes);
  const value* columns = kube::FindPath(version, {"additionalPrinterColumns"});
  for (size_t i = 0; columns != nullptr && columns->is_array() && i < columns->get_array().size();
       ++i) {
    const value& column = columns->get_array()[i];
    const auto path = JsonPath::Parse(kube::StringAt(column, {"jsonPath"}));
    if (!path.ok()) {
      causes.push_back(InvalidField(FieldPath(at + ".additionalPrinterColumns", i) + ".jsonPath",
                                    JsonText(kube::StringAt(column, {"jsonPath"})),
                                    std::string(path.status().message())));
    }
  }
}

std::vector<Column> ColumnsOf(const value& version) {
  std::vector<Column> columns;
  const value* declared = kube::FindPath(version, {"additionalPrinterColumns"});
  if (declared == nullptr || !declared->is_array()) return columns;
  for (const value& one : declared->get_array()) {
    Column column;
    column.name = kube::StringAt(one, {"name"});
    column.type = kube::StringAt(one, {"type"}, "string");
    column.format = kube::StringAt(one, {"format"});
    column.description = kube::StringAt(one, {"description"});
    column.priority = static_cast<int>(kube::IntAt(one, {"priority"}));
    column.json_path = kube::StringAt(one, {"jsonPath"});
    if (column.description.empty()) {
      column.description = absl::StrFormat(
          "Custom resource definition column (in JSONPath format): %s", column.json_path);
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

KindVersion VersionOf(const value& json, SchemaArena& arena) {
  KindVersion version;
  version.name = kube::StringAt(json, {"name"});
  version.served = kube::BoolAt(json, {"served"});
  version.deprecated = kube::BoolAt(json, {"deprecated"});
  version.deprecation_warning = kube::StringAt(json, {"deprecationWarning"});
  version.columns = ColumnsOf(json);
  version.status = kube::FindPath(json, {"subresources", "status"}) != nullptr;
  if (const value* scale = kube::FindPath(json, {"subresources", "scale"})) {
    version.scale = std::make_shared<const ScalePaths>(
        ScalePaths{std::string(kube::StringAt(*scale, {"specReplicasPath"})),
                   std::string(kube::StringAt(*scale, {"statusReplicasPath"})),
                   std::string(kube::StringAt(*scale, {"labelSelectorPath"}))});
  }
  if (const value* fields = kube::FindPath(json, {"selectableFields"});
      fields != nullptr && fields->is_array()) {
    for (const value& field : fields->get_array()) {
      std::string_view path = kube::StringAt(field, {"jsonPath"});
      if (path.starts_with('.')) path.remove_prefix(1);
      version.selectable_fields.emplace_back(path);
    }
  }
  if (const value* schema = kube::FindPath(json, {"schema", "openAPIV3Schema"})) {
    std::vector<ErrorCause> ignored;  // It has been validated.
    version.open_api = std::make_shared<const value>(*schema);
    version.schema = ParseStructural(*schema, "", arena, ignored);
  }
  return version;
}

object Condition(const value& crd, std::string_view type, std::string_view status,
                 std::string_view reason, std::string_view message, const std::string& now) {
  std::string since = now;
  if (const value* present = kube::FindPath(crd, {"status", "conditions"});
      present != nullptr && present->is_array()) {
    for (const value& one : present->get_array()) {
      if (kube::StringAt(one, {"type"}) == type && kube::StringAt(one, {"status"}) == status) {
        since = kube::StringAt(one, {"lastTransitionTime"}, now);
      }
    }
  }
  return {{"type", type},
          {"status", status},
          {"lastTransitionTime", since},
          {"reason", reason},
          {"message", message}};
}

}  // namespace

void SetCrdDefaults(object& crd) {
  object& spec = MakeObject(crd, "spec");
  object& names = MakeObject(spec, "names");
  const std::string kind(StringIn(names, "kind"));
  SetDefault(names, "singular", JsonText(Lower(kind)));
  SetDefault(names, "listKind", JsonText(kind + "List"));
  SetDefault(MakeObject(spec, "conversion"), "strategy", "None");
}

void ValidateCrd(const object& crd, const object* old, std::vector<ErrorCause>& causes) {
  const value whole(crd);
  const std::string_view group = kube::StringAt(whole, {"spec", "group"});
  const std::string_view plural = kube::StringAt(whole, {"spec", "names", "plural"});
  const std::string_view kind = kube::StringAt(whole, {"spec", "names", "kind"});
  const std::string_view scope = kube::StringAt(whole, {"spec", "scope"});
  const std::string_view name = kube::StringAt(whole, {"metadata", "name"});
  if (group.empty()) causes.push_back(RequiredField("spec.group"));
  if (std::ranges::find(kBuiltinGroups, group) != std::end(kBuiltinGroups)) {
    causes.push_back(
        InvalidField("spec.group", JsonText(group), "is a group of Kubernetes itself"));
  }
  if (!IsDnsLabel(plural)) {
    causes.push_back(RequiredField("spec.names.plural", "must be a DNS label"));
  }
  if (kind.empty()) causes.push_back(RequiredField("spec.names.kind"));
  if (name != absl::StrFormat("%s.%s", plural, group)) {
    causes.push_back(InvalidField("metadata.name", JsonText(name),
                                  "must be spec.names.plural+\".\"+spec.group"));
  }
  if (scope != "Namespaced" && scope != "Cluster") {
    causes.push_back(UnsupportedField("spec.scope", JsonText(scope), {"Cluster", "Namespaced"}));
  }
  if (kube::StringAt(whole, {"spec", "conversion", "strategy"}) != "None") {
    causes.push_back(
        ForbiddenField("spec.conversion.strategy", "only None is supported by this server"));
  }
  const array& versions = VersionsOf(crd);
  int storage = 0;
  for (size_t i = 0; i < versions.size(); ++i) {
    if (kube::BoolAt(versions[i], {"storage"})) ++storage;
    ValidateVersion(versions[i], FieldPath("spec.versions", i), causes);
  }
  if (storage != 1) {
    causes.push_back(InvalidField("spec.versions", JsonText("array"),
                                  "must have exactly one version marked as storage version"));
  }
  if (old == nullptr) return;
  const value before(*old);
  for (const auto& [path, text] : {std::pair("group", group), std::pair("scope", scope)}) {
    if (kube::StringAt(before, {"spec", path}) != text) {
      causes.push_back(InvalidField(FieldPath("spec", path), JsonText(text), "field is immutable"));
    }
  }
}

std::shared_ptr<const Kind> KindOfCrd(const value& crd) {
  auto kind = std::make_shared<Kind>();
  auto arena = std::make_shared<SchemaArena>();
  kind->custom = true;
  kind->group = kube::StringAt(crd, {"spec", "group"});
  kind->plural = kube::StringAt(crd, {"spec", "names", "plural"});
  kind->singular = kube::StringAt(crd, {"spec", "names", "singular"});
  kind->kind = kube::StringAt(crd, {"spec", "names", "kind"});
  kind->short_names = kube::StringsAt(crd, {"spec", "names", "shortNames"});
  kind->categories = kube::StringsAt(crd, {"spec", "names", "categories"});
  kind->namespaced = kube::StringAt(crd, {"spec", "scope"}) == "Namespaced";
  kind->storage = kind->group + "/" + kind->plural;
  for (const value& version : VersionsOf(crd.as_object())) {
    if (kube::BoolAt(version, {"storage"})) {
      kind->storage_version = kube::StringAt(version, {"name"});
    }
    kind->versions.push_back(VersionOf(version, *arena));
  }
  std::ranges::sort(kind->versions, [](const KindVersion& a, const KindVersion& b) {
    return VersionPrecedes(a.name, b.name);
  });
  kind->arena = std::move(arena);
  return kind;
}

object CrdStatus(const value& crd, bool established, const std::string& now) {
  object status;
  status["acceptedNames"] = *kube::FindPath(crd, {"spec", "names"});
  array stored;
  for (const std::string& version : kube::StringsAt(crd, {"status", "storedVersions"})) {
    stored.emplace_back(version);
  }
  for (const value& version : VersionsOf(crd.as_object())) {
    const value name(kube::StringAt(version, {"name"}));
    if (kube::BoolAt(version, {"storage"}) && std::ranges::find(stored, name) == stored.end()) {
      stored.push_back(name);
    }
  }
  status["storedVersions"] = std::move(stored);
  array conditions{
      Condition(crd, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now),
      Condition(crd, "Established", "True", "InitialNamesAccepted",
                "the initial names have been accepted", now)};
  if (!established) {
    conditions.push_back(Condition(crd, "Terminating", "True", "InstanceDeletionInProgress",
                                   "CustomResource deletion is in progress", now));
  }
  status["conditions"] = std::move(conditions);
  return status;
}

}  // namespace local_cluster
