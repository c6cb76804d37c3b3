// A NodeClaim as the state machine sees it: read once, checked once.

#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

#include "common/kube/object.h"

namespace gpu_provisioner {

inline constexpr std::string_view kFinalizer = "karpenter.sh/termination";
inline constexpr std::string_view kOwnPrefix = "gpu-provisioner.kaito.sh/";
inline constexpr std::string_view kAnnotationOffering = "gpu-provisioner.kaito.sh/offering";
inline constexpr std::string_view kAnnotationAttempt = "gpu-provisioner.kaito.sh/attempt";
inline constexpr std::string_view kAnnotationNotBefore = "gpu-provisioner.kaito.sh/not-before";
inline constexpr std::string_view kAnnotationLastError = "gpu-provisioner.kaito.sh/last-error";
inline constexpr std::string_view kAnnotationTermination =
    "karpenter.sh/nodeclaim-termination-timestamp";

struct Taint {
  std::string key;
  std::string value;
  std::string effect;

  bool operator==(const Taint&) const = default;
};

// A size in a place at a price model; what one PUT asks for.
struct OfferingRef {
  std::string size;           // As the claim spells it.
  std::string zone;           // "1"; empty: regional.
  std::string capacity_type;  // on-demand, spot, reserved.

  bool operator==(const OfferingRef&) const = default;
  std::string ToString() const;  // "Standard_NC24ads_A100_v4/2/spot"
  static std::optional<OfferingRef> Parse(std::string_view text);
};

struct NodeRequest {
  kube::Object object;

  std::string name;  // Also the pool's.
  std::string uid;
  int64_t generation = 0;
  absl::Time created;
  std::optional<absl::Time> deleted;
  bool has_finalizer = false;
  bool nodepool_owned = false;  // Its creator makes another when it is deleted.
  std::string node_class;

  std::vector<std::string> sizes;           // Any of these.
  std::vector<std::string> capacity_types;  // Any of these; best first.
  std::vector<std::string> zones;           // "1", "0" = regional; empty: anywhere.
  std::set<std::string> archs;              // Empty: any.
  int storage_gib = 0;
  std::map<std::string, double> requests;  // Without storage.
  std::vector<Taint> taints;
  std::vector<Taint> startup_taints;
  std::map<std::string, std::string> free_labels;  // From requirements with one value.
  bool azure_linux = false;
  std::optional<absl::Duration> grace_period;
  std::optional<double> usd_per_hour_max;

  // What we wrote before.
  std::optional<OfferingRef> offering;
  int attempt = 0;
  std::optional<absl::Time> not_before;
  std::string last_error;
  std::string retry;  // The user's annotation; any change starts over.

  std::string provider_id;
  std::string node_name;

  // Why no node can ever come of it: the field, and what is wrong. Empty: it is valid.
  std::string invalid;

  bool registered() const;
};

// Whether a claim is for us to act on (design/provisioner.md 2.1); everything else gets no write.
bool IsOurs(const kube::Object& claim);

// `location` is the region that zones must be of.
NodeRequest ParseNodeClaim(const kube::Object& claim, std::string_view location);

// Reads a list of taints; entries without key or effect are left out.
std::vector<Taint> ParseTaints(const kube::Object& object,
                               std::initializer_list<std::string_view> path);

// Labels that AKS or kubelet set, and refuse from us.
bool IsReservedNodeLabel(std::string_view key);

}  // namespace gpu_provisioner
