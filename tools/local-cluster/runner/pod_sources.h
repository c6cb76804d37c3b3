// What a Pod refers to outside itself.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "common/kube/object.h"

namespace local_cluster {

struct PodSources {
  // ConfigMaps, Secrets and claims of the Pod's namespace; kNotFound when there is none.
  std::function<absl::StatusOr<kube::Object>(std::string_view name)> config_map;
  std::function<absl::StatusOr<kube::Object>(std::string_view name)> secret;
  // A new token of the Pod's service account.
  std::function<absl::StatusOr<std::string>(std::string_view audience, int64_t seconds)> token;
  std::string pod_ip;
  std::string host_ip = "127.0.0.1";
  double node_cpu = 1;  // Allocatable: the value of a limit that is not set.
  double node_memory_bytes = 0;
};

// The text of a fieldRef: metadata.{name,namespace,uid,labels,annotations}, labels['x'],
// annotations['x'], spec.{nodeName,serviceAccountName}, status.{hostIP,podIP,…}.
// kInvalidArgument for others.
absl::StatusOr<std::string> FieldText(const kube::Object& pod, std::string_view path,
                                      const PodSources& sources);

// The text of a resourceFieldRef of `container`: limits.cpu, requests.memory …, divided and rounded
// up. `reference` is the resourceFieldRef's JSON.
absl::StatusOr<std::string> ResourceText(const kube::Object& pod, std::string_view container,
                                         const boost::json::value& reference,
                                         const PodSources& sources);

// The bytes of `key` in a ConfigMap (data, binaryData) or Secret (data); nullopt when absent.
absl::StatusOr<std::optional<std::string>> DataOf(const kube::Object& object, std::string_view key);

// Standard base64 with padding. nullopt when malformed.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace local_cluster
