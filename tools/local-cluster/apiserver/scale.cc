#include "local-cluster/apiserver/scale.h"

#include <string>
#include <string_view>
#include <utility>

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "local-cluster/apiserver/json_path.h"
#include "local-cluster/apiserver/label_selector.h"
#include "local-cluster/apiserver/schema/builtin.h"
#include "local-cluster/apiserver/schema/json_edit.h"

namespace local_cluster {
namespace {

using boost::json::object;
using boost::json::value;

const value* Find(const value& whole, const std::string& path) {
  if (path.empty()) return nullptr;
  const absl::StatusOr<JsonPath> parsed = JsonPath::Parse(path);
  return parsed.ok() ? parsed->FindFirst(whole) : nullptr;
}

// Of ".spec.replicas": the object that holds the last member, made where it is missing.
object& Parent(value& whole, std::string_view path, std::string_view& last) {
  if (path.starts_with('.')) path.remove_prefix(1);
  object* at = &whole.as_object();
  while (true) {
    const size_t dot = path.find('.');
    if (dot == std::string_view::npos) break;
    at = &MakeObject(*at, path.substr(0, dot));
    path.remove_prefix(dot + 1);
  }
  last = path;
  return *at;
}

}  // namespace

value ScaleOf(const value& whole, const ScalePaths& paths) {
  object metadata;
  for (const char* name : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"}) {
    if (const value* member = kube::FindPath(whole, {"metadata", name})) metadata[name] = *member;
  }
  object spec;
  object status{{"replicas", 0}};
  if (const value* replicas = Find(whole, paths.spec_replicas)) spec["replicas"] = *replicas;
  if (const value* replicas = Find(whole, paths.status_replicas)) status["replicas"] = *replicas;
  if (const value* selector = Find(whole, paths.label_selector)) {
    status["selector"] = selector->is_string() ? *selector : value(LabelSelectorText(*selector));
  }
  return object{{"kind", "Scale"},
                {"apiVersion", "autoscaling/v1"},
                {"metadata", std::move(metadata)},
                {"spec", std::move(spec)},
                {"status", std::move(status)}};
}

absl::StatusOr<value> WithScale(value whole, const value& scale, const ScalePaths& paths) {
  const value* replicas = kube::FindPath(scale, {"spec", "replicas"});
  const int64_t wanted = replicas == nullptr || !replicas->is_int64() ? 0 : replicas->get_int64();
  if (wanted < 0) {
    return InvalidError(
        {"autoscaling", "scales", "Scale"}, kube::StringAt(whole, {"metadata", "name"}),
        {InvalidField("spec.replicas", value(wanted), "must be greater than or equal to 0")});
  }
  std::string_view last;
  object& parent = Parent(whole, paths.spec_replicas, last);
  parent[last] = wanted;
  const std::string_view version = kube::StringAt(scale, {"metadata", "resourceVersion"});
  if (!version.empty()) MakeObject(whole.as_object(), "metadata")["resourceVersion"] = version;
  return whole;
}

const Schema& ScaleSchema() {
  static const Schema* const schema = BuiltinKind("autoscaling", "v1", "Scale");
  return *schema;
}

}  // namespace local_cluster
