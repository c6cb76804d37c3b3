#include "local-cluster/runner/pod_sources.h"

#include <cmath>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

// 'x' of "metadata.labels['x']"; nullopt for another path.
std::optional<std::string> Subscript(std::string_view path, std::string_view field) {
  if (!path.starts_with(field)) return std::nullopt;
  path.remove_prefix(field.size());
  if (path.size() < 4 || !path.starts_with("['") || !path.ends_with("']")) return std::nullopt;
  return std::string(path.substr(2, path.size() - 4));
}

// key="value" lines, as kubelet writes all labels.
std::string MapText(const std::map<std::string, std::string>& entries) {
  std::string text;
  for (const auto& [key, value] : entries) {
    if (!text.empty()) text += '\n';
    text += absl::StrFormat("%s=\"%s\"", key, absl::CEscape(value));
  }
  return text;
}

const json::value* FindContainer(const kube::Object& pod, std::string_view name) {
  for (const std::string_view list : {"containers", "initContainers"}) {
    const json::value* containers = pod.Find({"spec", list});
    if (containers == nullptr || !containers->is_array()) continue;
    for (const json::value& container : containers->get_array()) {
      if (kube::StringAt(container, {"name"}) == name) return &container;
    }
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<std::string> FieldText(const kube::Object& pod, std::string_view path,
                                      const PodSources& sources) {
  if (path == "metadata.name") return std::string(pod.name());
  if (path == "metadata.namespace") return std::string(pod.namespace_name());
  if (path == "metadata.uid") return std::string(pod.uid());
  if (path == "metadata.labels") return MapText(pod.labels());
  if (path == "metadata.annotations") return MapText(pod.annotations());
  if (path == "spec.nodeName") return std::string(pod.StringAt({"spec", "nodeName"}));
  if (path == "spec.serviceAccountName") {
    return std::string(pod.StringAt({"spec", "serviceAccountName"}));
  }
  if (path == "status.podIP" || path == "status.podIPs") return sources.pod_ip;
  if (path == "status.hostIP" || path == "status.hostIPs") return sources.host_ip;
  if (const auto label = Subscript(path, "metadata.labels")) return std::string(pod.label(*label));
  if (const auto name = Subscript(path, "metadata.annotations")) {
    return std::string(pod.annotation(*name));
  }
  return absl::InvalidArgumentError(absl::StrFormat("fieldRef %s is not supported", path));
}

absl::StatusOr<std::string> ResourceText(const kube::Object& pod, std::string_view container,
                                         const json::value& reference, const PodSources& sources) {
  const std::string_view named = kube::StringAt(reference, {"containerName"}, container);
  const std::string_view resource = kube::StringAt(reference, {"resource"});
  const json::value* spec = FindContainer(pod, named);
  const size_t dot = resource.find('.');
  if (spec == nullptr || dot == std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrFormat("resourceFieldRef %s of container %s is unknown", resource, named));
  }
  const std::string_view list = resource.substr(0, dot);
  const std::string_view name = resource.substr(dot + 1);
  std::optional<double> value =
      kube::ParseQuantity(kube::StringAt(*spec, {"resources", list, name}));
  if (!value && list == "limits" && name == "cpu") value = sources.node_cpu;
  if (!value && list == "limits" && name == "memory") value = sources.node_memory_bytes;
  const double divisor =
      kube::ParseQuantity(kube::StringAt(reference, {"divisor"}, "1")).value_or(1);
  return absl::StrFormat("%.0f", std::ceil(value.value_or(0) / (divisor > 0 ? divisor : 1)));
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  std::string out;
  if (!absl::Base64Unescape(absl::string_view(text.data(), text.size()), &out)) {
    return std::nullopt;
  }
  return out;
}

absl::StatusOr<std::optional<std::string>> DataOf(const kube::Object& object,
                                                  std::string_view key) {
  const bool is_secret = object.kind() == "Secret";
  const json::value* plain = is_secret ? nullptr : object.Find({"data", key});
  if (plain != nullptr && plain->is_string()) {
    return std::string(plain->get_string().data(), plain->get_string().size());
  }
  const json::value* encoded = object.Find({is_secret ? "data" : "binaryData", key});
  if (encoded == nullptr || !encoded->is_string()) return std::nullopt;
  std::optional<std::string> bytes =
      DecodeBase64({encoded->get_string().data(), encoded->get_string().size()});
  if (!bytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("key %s of %s %s is no base64", key, object.kind(), object.name()));
  }
  return bytes;
}

}  // namespace local_cluster
