#include "local-cluster/apiserver/printers.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "common/kube/object.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/table.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;
using Path = std::initializer_list<std::string_view>;

// An object to print.
struct Printed {
  const value& whole;
  absl::Time now;

  std::string Text(Path path, std::string_view otherwise = "") const {
    const value* found = kube::FindPath(whole, path);
    if (found == nullptr || found->is_null()) return std::string(otherwise);
    if (found->is_string()) {
      return found->get_string().empty() ? std::string(otherwise)
                                         : std::string(View(found->get_string()));
    }
    return boost::json::serialize(*found);
  }
  int64_t Number(Path path) const { return kube::IntAt(whole, path); }
  std::string Since(Path path, std::string_view otherwise = "<unknown>") const {
    const std::optional<absl::Time> time = kube::ParseTime(kube::StringAt(whole, path));
    return time ? HumanDuration(now - *time) : std::string(otherwise);
  }
  std::string Name() const { return Text({"metadata", "name"}); }
  std::string Age() const { return Since({"metadata", "creationTimestamp"}); }
  const array& List(Path path) const {
    static const array kNone;
    const value* found = kube::FindPath(whole, path);
    return found == nullptr || !found->is_array() ? kNone : found->get_array();
  }
  size_t Size(Path path) const {
    const value* found = kube::FindPath(whole, path);
    if (found == nullptr) return 0;
    if (found->is_object()) return found->get_object().size();
    return found->is_array() ? found->get_array().size() : 0;
  }
  bool Condition(std::string_view type) const {
    return std::ranges::any_of(List({"status", "conditions"}), [type](const value& one) {
      return kube::StringAt(one, {"type"}) == type && kube::StringAt(one, {"status"}) == "True";
    });
  }
};

std::string Join(const std::vector<std::string>& parts, std::string_view separator = ",",
                 std::string_view otherwise = "<none>") {
  if (parts.empty()) return std::string(otherwise);
  std::string all = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) all.append(separator).append(parts[i]);
  return all;
}

std::string Members(const array& list, std::string_view name) {
  std::vector<std::string> parts;
  for (const value& one : list) parts.emplace_back(kube::StringAt(one, {name}));
  return Join(parts);
}

// matchLabels as "a=b,c=d"; also of plain maps.
std::string LabelText(const value* labels) {
  std::vector<std::string> parts;
  if (labels != nullptr && labels->is_object()) {
    for (const auto& label : labels->get_object()) {
      if (label.value().is_string()) {
        parts.push_back(std::string(label.key()) + "=" +
                        std::string(View(label.value().get_string())));
      }
    }
  }
  std::ranges::sort(parts);
  return Join(parts);
}

std::string ServicePorts(const Printed& p) {
  std::vector<std::string> parts;
  for (const value& port : p.List({"spec", "ports"})) {
    const std::string node = kube::IntAt(port, {"nodePort"}) == 0
                                 ? ""
                                 : absl::StrFormat(":%d", kube::IntAt(port, {"nodePort"}));
    parts.push_back(absl::StrFormat("%d%s/%s", kube::IntAt(port, {"port"}), node,
                                    kube::StringAt(port, {"protocol"}, "TCP")));
  }
  return Join(parts);
}

std::string AccessModes(const array& modes) {
  std::vector<std::string> parts;
  for (const value& mode : modes) {
    if (mode == value("ReadWriteOnce")) parts.emplace_back("RWO");
    if (mode == value("ReadOnlyMany")) parts.emplace_back("ROX");
    if (mode == value("ReadWriteMany")) parts.emplace_back("RWX");
    if (mode == value("ReadWriteOncePod")) parts.emplace_back("RWOP");
  }
  return Join(parts, ",", "");
}

array PodCells(const Printed& p) {
  const PodSummary summary = SummarizePod(p.whole, p.now);
  return {p.Name(),
          summary.ready,
          summary.status,
          summary.restarts,
          p.Age(),
          p.Text({"status", "podIP"}, "<none>"),
          p.Text({"spec", "nodeName"}, "<none>"),
          p.Text({"status", "nominatedNodeName"}, "<none>"),
          "<none>"};
}

array JobCells(const Printed& p) {
  std::string status = "Running";
  if (p.Condition("Complete")) {
    status = "Complete";
  } else if (p.Condition("Failed")) {
    status = "Failed";
  } else if (kube::FindPath(p.whole, {"metadata", "deletionTimestamp"}) != nullptr) {
    status = "Terminating";
  } else if (p.Condition("Suspended")) {
    status = "Suspended";
  }
  const int64_t succeeded = p.Number({"status", "succeeded"});
  const int64_t parallelism = p.Number({"spec", "parallelism"});
  std::string completions = absl::StrFormat("%d/1", succeeded);
  if (kube::FindPath(p.whole, {"spec", "completions"}) != nullptr) {
    completions = absl::StrFormat("%d/%d", succeeded, p.Number({"spec", "completions"}));
  } else if (parallelism > 1) {
    completions = absl::StrFormat("%d/1 of %d", succeeded, parallelism);
  }
  const auto started = kube::ParseTime(p.Text({"status", "startTime"}));
  const auto ended = kube::ParseTime(p.Text({"status", "completionTime"}));
  const std::string duration = started ? HumanDuration(ended.value_or(p.now) - *started) : "";
  const array& containers = p.List({"spec", "template", "spec", "containers"});
  return {p.Name(),
          status,
          completions,
          duration,
          p.Age(),
          Members(containers, "name"),
          Members(containers, "image"),
          LabelText(kube::FindPath(p.whole, {"spec", "selector", "matchLabels"}))};
}

array NodeCells(const Printed& p) {
  std::string status = "Unknown";
  for (const value& one : p.List({"status", "conditions"})) {
    if (kube::StringAt(one, {"type"}) != "Ready") continue;
    status = kube::StringAt(one, {"status"}) == "True" ? "Ready" : "NotReady";
  }
  if (kube::BoolAt(p.whole, {"spec", "unschedulable"})) status += ",SchedulingDisabled";
  std::vector<std::string> roles;
  const value* labels = kube::FindPath(p.whole, {"metadata", "labels"});
  if (labels != nullptr && labels->is_object()) {
    for (const auto& label : labels->get_object()) {
      const std::string_view key = label.key();
      if (key.starts_with("node-role.kubernetes.io/")) roles.emplace_back(key.substr(24));
    }
  }
  const auto address = [&p](std::string_view type) {
    for (const value& one : p.List({"status", "addresses"})) {
      if (kube::StringAt(one, {"type"}) == type) {
        return std::string(kube::StringAt(one, {"address"}));
      }
    }
    return std::string("<none>");
  };
  return {p.Name(),
          status,
          Join(roles),
          p.Age(),
          p.Text({"status", "nodeInfo", "kubeletVersion"}),
          address("InternalIP"),
          address("ExternalIP"),
          p.Text({"status", "nodeInfo", "osImage"}, "<unknown>"),
          p.Text({"status", "nodeInfo", "kernelVersion"}, "<unknown>"),
          p.Text({"status", "nodeInfo", "containerRuntimeVersion"}, "<unknown>")};
}

array EventCells(const Printed& p) {
  std::string first = p.Since({"firstTimestamp"}, "");
  if (first.empty()) first = p.Since({"eventTime"});
  std::string last = p.Since({"lastTimestamp"}, first);
  int64_t count = std::max<int64_t>(p.Number({"count"}), 1);
  if (kube::FindPath(p.whole, {"series"}) != nullptr) {
    last = p.Since({"series", "lastObservedTime"});
    count = p.Number({"series", "count"});
  }
  std::string target = p.Text({"involvedObject", "kind"});
  for (char& c : target) c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
  const std::string name = p.Text({"involvedObject", "name"});
  if (!name.empty()) target += "/" + name;
  std::string source = p.Text({"source", "component"}, p.Text({"reportingComponent"}));
  const std::string instance = p.Text({"source", "host"}, p.Text({"reportingInstance"}));
  if (!instance.empty()) source += ", " + instance;
  return {last,
          p.Text({"type"}),
          p.Text({"reason"}),
          target,
          p.Text({"involvedObject", "fieldPath"}),
          source,
          p.Text({"message"}),
          first,
          count,
          p.Name()};
}

array WorkloadTail(array cells, const Printed& p, bool selector) {
  const array& containers = p.List({"spec", "template", "spec", "containers"});
  cells.push_back(value(Members(containers, "name")));
  cells.push_back(value(Members(containers, "image")));
  if (selector) {
    cells.push_back(value(LabelText(kube::FindPath(p.whole, {"spec", "selector", "matchLabels"}))));
  }
  return cells;
}

array StatefulSetCells(const Printed& p) {
  return WorkloadTail({p.Name(),
                       absl::StrFormat("%d/%d", p.Number({"status", "readyReplicas"}),
                                       p.Number({"spec", "replicas"})),
                       p.Age()},
                      p, false);
}

array DeploymentCells(const Printed& p) {
  return WorkloadTail(
      {p.Name(),
       absl::StrFormat("%d/%d", p.Number({"status", "readyReplicas"}),
                       p.Number({"spec", "replicas"})),
       p.Number({"status", "updatedReplicas"}), p.Number({"status", "availableReplicas"}), p.Age()},
      p, true);
}

array ReplicaSetCells(const Printed& p) {
  return WorkloadTail({p.Name(), p.Number({"spec", "replicas"}), p.Number({"status", "replicas"}),
                       p.Number({"status", "readyReplicas"}), p.Age()},
                      p, true);
}

array DaemonSetCells(const Printed& p) {
  return WorkloadTail(
      {p.Name(), p.Number({"status", "desiredNumberScheduled"}),
       p.Number({"status", "currentNumberScheduled"}), p.Number({"status", "numberReady"}),
       p.Number({"status", "updatedNumberScheduled"}), p.Number({"status", "numberAvailable"}),
       LabelText(kube::FindPath(p.whole, {"spec", "template", "spec", "nodeSelector"})), p.Age()},
      p, true);
}

array ServiceCells(const Printed& p) {
  const value* addresses = kube::FindPath(p.whole, {"spec", "externalIPs"});
  return {p.Name(),
          p.Text({"spec", "type"}),
          p.Text({"spec", "clusterIP"}, "<none>"),
          addresses == nullptr ? std::string("<none>") : boost::json::serialize(*addresses),
          ServicePorts(p),
          p.Age(),
          LabelText(kube::FindPath(p.whole, {"spec", "selector"}))};
}

array ClaimCells(const Printed& p) {
  const bool bound = !p.Text({"spec", "volumeName"}).empty();
  const bool going = kube::FindPath(p.whole, {"metadata", "deletionTimestamp"}) != nullptr;
  return {p.Name(),
          going ? std::string("Terminating") : p.Text({"status", "phase"}),
          p.Text({"spec", "volumeName"}),
          bound ? p.Text({"status", "capacity", "storage"}) : std::string(),
          bound ? AccessModes(p.List({"status", "accessModes"})) : std::string(),
          p.Text({"spec", "storageClassName"}),
          p.Text({"spec", "volumeAttributesClassName"}, "<unset>"),
          p.Age(),
          p.Text({"spec", "volumeMode"}, "<unset>")};
}

array VolumeCells(const Printed& p) {
  std::string claim = p.Text({"spec", "claimRef", "name"});
  if (!claim.empty()) claim = p.Text({"spec", "claimRef", "namespace"}) + "/" + claim;
  return {p.Name(),
          p.Text({"spec", "capacity", "storage"}),
          AccessModes(p.List({"spec", "accessModes"})),
          p.Text({"spec", "persistentVolumeReclaimPolicy"}),
          p.Text({"status", "phase"}),
          claim,
          p.Text({"spec", "storageClassName"}),
          p.Text({"spec", "volumeAttributesClassName"}, "<unset>"),
          p.Text({"status", "reason"}),
          p.Age(),
          p.Text({"spec", "volumeMode"}, "<unset>")};
}

array SliceCells(const Printed& p) {
  std::vector<std::string> ports, addresses;
  for (const value& port : p.List({"ports"})) {
    ports.push_back(std::to_string(kube::IntAt(port, {"port"})));
  }
  for (const value& endpoint : p.List({"endpoints"})) {
    for (const std::string& one : kube::StringsAt(endpoint, {"addresses"})) {
      if (addresses.size() < 3) addresses.push_back(one);
    }
  }
  return {p.Name(), p.Text({"addressType"}), Join(ports, ",", "<unset>"),
          Join(addresses, ",", "<unset>"), p.Age()};
}

array EndpointsCells(const Printed& p) {
  std::vector<std::string> all;
  for (const value& subset : p.List({"subsets"})) {
    const Printed part{subset, p.now};
    for (const value& address : part.List({"addresses"})) {
      for (const value& port : part.List({"ports"})) {
        all.push_back(
            absl::StrFormat("%s:%d", kube::StringAt(address, {"ip"}), kube::IntAt(port, {"port"})));
      }
    }
  }
  return {p.Name(), Join(all), p.Age()};
}

array StorageClassCells(const Printed& p) {
  return {p.Name(),
          p.Text({"provisioner"}),
          p.Text({"reclaimPolicy"}),
          p.Text({"volumeBindingMode"}),
          kube::BoolAt(p.whole, {"allowVolumeExpansion"}),
          p.Age()};
}

array RevisionCells(const Printed& p) {
  std::string owner = "<none>";
  for (const value& one : p.List({"metadata", "ownerReferences"})) {
    owner = absl::StrFormat("%s/%s", kube::StringAt(one, {"kind"}), kube::StringAt(one, {"name"}));
  }
  return {p.Name(), owner, p.Number({"revision"}), p.Age()};
}

array BindingCells(const Printed& p) {
  return {p.Name(), p.Text({"roleRef", "kind"}) + "/" + p.Text({"roleRef", "name"}), p.Age()};
}

struct Printer {
  std::string_view kind;
  // Separated by ';'. '+' before a name: only wide. '#' before it: an integer.
  std::string_view columns;
  array (*cells)(const Printed&);
};

array NameAndAge(const Printed& p) { return {p.Name(), p.Age()}; }

constexpr std::string_view kNameAndAge = "Name;Age";

const Printer kPrinters[] = {
    {"Pod", "Name;Ready;Status;Restarts;Age;+IP;+Node;+Nominated Node;+Readiness Gates", PodCells},
    {"Job", "Name;Status;Completions;Duration;Age;+Containers;+Images;+Selector", JobCells},
    {"Node",
     "Name;Status;Roles;Age;Version;+Internal-IP;+External-IP;+OS-Image;+Kernel-Version;"
     "+Container-Runtime",
     NodeCells},
    {"Event", "Last Seen;Type;Reason;Object;+Subobject;+Source;Message;+First Seen;+Count;+Name",
     EventCells},
    {"StatefulSet", "Name;Ready;Age;+Containers;+Images", StatefulSetCells},
    {"Deployment", "Name;Ready;Up-to-date;Available;Age;+Containers;+Images;+Selector",
     DeploymentCells},
    {"ReplicaSet", "Name;#Desired;#Current;#Ready;Age;+Containers;+Images;+Selector",
     ReplicaSetCells},
    {"DaemonSet",
     "Name;#Desired;#Current;#Ready;#Up-to-date;#Available;Node Selector;Age;+Containers;+Images;"
     "+Selector",
     DaemonSetCells},
    {"Service", "Name;Type;Cluster-IP;External-IP;Port(s);Age;+Selector", ServiceCells},
    {"PersistentVolumeClaim",
     "Name;Status;Volume;Capacity;Access Modes;StorageClass;VolumeAttributesClass;Age;+VolumeMode",
     ClaimCells},
    {"PersistentVolume",
     "Name;Capacity;Access Modes;Reclaim Policy;Status;Claim;StorageClass;VolumeAttributesClass;"
     "Reason;Age;+VolumeMode",
     VolumeCells},
    {"EndpointSlice", "Name;AddressType;Ports;Endpoints;Age", SliceCells},
    {"Endpoints", "Name;Endpoints;Age", EndpointsCells},
    {"StorageClass", "Name;Provisioner;ReclaimPolicy;VolumeBindingMode;AllowVolumeExpansion;Age",
     StorageClassCells},
    {"ControllerRevision", "Name;Controller;Revision;Age", RevisionCells},
    {"RoleBinding", "Name;Role;Age", BindingCells},
    {"ClusterRoleBinding", "Name;Role;Age", BindingCells},
    {"Role", "Name;Created At",
     [](const Printed& p) -> array {
       return {p.Name(), p.Text({"metadata", "creationTimestamp"})};
     }},
    {"ClusterRole", "Name;Created At",
     [](const Printed& p) -> array {
       return {p.Name(), p.Text({"metadata", "creationTimestamp"})};
     }},
    {"CustomResourceDefinition", "Name;Created At",
     [](const Printed& p) -> array {
       return {p.Name(), p.Text({"metadata", "creationTimestamp"})};
     }},
    {"Namespace", "Name;Status;Age",
     [](const Printed& p) -> array { return {p.Name(), p.Text({"status", "phase"}), p.Age()}; }},
    {"Secret", "Name;Type;#Data;Age",
     [](const Printed& p) -> array {
       return {p.Name(), p.Text({"type"}), p.Size({"data"}), p.Age()};
     }},
    {"ConfigMap", "Name;#Data;Age",
     [](const Printed& p) -> array {
       return {p.Name(), p.Size({"data"}) + p.Size({"binaryData"}), p.Age()};
     }},
    {"ServiceAccount", "Name;#Secrets;Age",
     [](const Printed& p) -> array { return {p.Name(), p.Size({"secrets"}), p.Age()}; }},
    {"Lease", "Name;Holder;Age",
     [](const Printed& p) -> array {
       return {p.Name(), p.Text({"spec", "holderIdentity"}), p.Age()};
     }},
    {"PodDisruptionBudget", "Name;Min Available;Max Unavailable;#Allowed Disruptions;Age",
     [](const Printed& p) -> array {
       return {p.Name(), p.Text({"spec", "minAvailable"}, "N/A"),
               p.Text({"spec", "maxUnavailable"}, "N/A"),
               p.Number({"status", "disruptionsAllowed"}), p.Age()};
     }},
    {"VolumeAttachment", "Name;Attacher;PV;Node;Attached;Age",
     [](const Printed& p) -> array {
       return {p.Name(),
               p.Text({"spec", "attacher"}),
               p.Text({"spec", "source", "persistentVolumeName"}),
               p.Text({"spec", "nodeName"}),
               kube::BoolAt(p.whole, {"status", "attached"}),
               p.Age()};
     }},
    {"CSINode", "Name;#Drivers;Age",
     [](const Printed& p) -> array { return {p.Name(), p.Size({"spec", "drivers"}), p.Age()}; }},
    {"MutatingWebhookConfiguration", "Name;#Webhooks;Age",
     [](const Printed& p) -> array { return {p.Name(), p.Size({"webhooks"}), p.Age()}; }},
    {"ValidatingWebhookConfiguration", "Name;#Webhooks;Age",
     [](const Printed& p) -> array { return {p.Name(), p.Size({"webhooks"}), p.Age()}; }},
};

const Printer& PrinterOf(const Kind& kind) {
  static const Printer kOther{"", kNameAndAge, NameAndAge};
  for (const Printer& printer : kPrinters) {
    if (printer.kind == kind.kind) return printer;
  }
  return kOther;
}

}  // namespace

array BuiltinColumns(const Kind& kind) {
  array columns;
  std::string_view rest = PrinterOf(kind).columns;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(';'), rest.size());
    std::string_view name = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const bool wide = name.starts_with('+');
    const bool integer = name.starts_with('#');
    if (wide || integer) name.remove_prefix(1);
    columns.push_back(object{{"name", name},
                             {"type", integer ? "integer" : "string"},
                             {"format", name == "Name" ? "name" : ""},
                             {"description", ""},
                             {"priority", wide ? 1 : 0}});
  }
  return columns;
}

array BuiltinCells(const Kind& kind, const value& whole, absl::Time now) {
  // Both groups of events print the core form.
  if (kind.strategy.to_storage != nullptr) {
    value stored = whole;
    kind.strategy.to_storage(stored.get_object());
    return PrinterOf(kind).cells({stored, now});
  }
  return PrinterOf(kind).cells({whole, now});
}

}  // namespace local_cluster
