#include "workspace-controller/observed.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;

// The instance type that a claim asks for: the one value of that requirement.
std::string RequestedType(const kube::Object& claim) {
  const json::value* requirements = claim.Find({"spec", "requirements"});
  if (requirements == nullptr || !requirements->is_array()) return "";
  for (const json::value& requirement : requirements->get_array()) {
    if (kube::StringAt(requirement, {"key"}) != "node.kubernetes.io/instance-type") continue;
    const auto values = kube::StringsAt(requirement, {"values"});
    if (!values.empty()) return values.front();
  }
  return "";
}

}  // namespace

std::string NodeView::label(std::string_view key) const {
  const auto found = labels.find(std::string(key));
  return found == labels.end() ? "" : found->second;
}

NodeView ReadNode(const kube::Object& node) {
  NodeView view{.name = std::string(node.name()),
                .labels = node.labels(),
                .ready = kube::IsConditionTrue(node, "Ready"),
                .schedulable = !node.BoolAt({"spec", "unschedulable"}),
                .being_deleted = node.being_deleted()};
  if (const json::value* capacity = node.Find({"status", "capacity", "nvidia.com/gpu"})) {
    if (capacity->is_string()) {
      view.gpus = static_cast<int>(kube::ParseQuantity(capacity->get_string()).value_or(0));
    } else if (capacity->is_int64()) {
      view.gpus = static_cast<int>(capacity->get_int64());
    }
  }
  for (const char* pressure : {"DiskPressure", "MemoryPressure", "PIDPressure"}) {
    if (kube::IsConditionTrue(node, pressure)) view.pressures.emplace_back(pressure);
  }
  return view;
}

ClaimView ReadClaim(const kube::Object& claim) {
  ClaimView view{.name = std::string(claim.name()),
                 .instance_type = RequestedType(claim),
                 .node_name = std::string(claim.StringAt({"status", "nodeName"})),
                 .being_deleted = claim.being_deleted(),
                 .initialized = true};
  for (const char* type : {"Launched", "Registered", "Initialized"}) {
    const std::optional<kube::Condition> condition = kube::FindCondition(claim, type);
    if (condition && condition->status == "True") continue;
    view.initialized = false;
    if (condition) view.waiting_for = *condition;
    break;
  }
  return view;
}

}  // namespace workspace_controller
