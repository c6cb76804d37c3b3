// kaito why: gathers what the cluster says about a Workspace, and explains it.

#include <set>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "kaito/cluster_state.h"
#include "kaito/explanation.h"
#include "kaito/kube_access.h"
#include "kaito/verbs.h"

namespace kaito {
namespace {

// What cannot be read is left out: an explanation with holes is better than none.
std::vector<kube::Object> ListQuietly(Access& access, const kube::Resource& resource,
                                      const kube::ListOptions& options) {
  auto list = access.client->List(resource, options);
  return list.ok() ? std::move(list->items) : std::vector<kube::Object>();
}

std::string LastLogLine(Access& access, const TroubledContainer& container) {
  const std::string target = kube::resources::kPods.Path(access.Key(container.pod), "log") +
                             "?tailLines=1&container=" + net::PercentEncode(container.container) +
                             (container.previous ? "&previous=true" : "");
  const auto response = access.client->Raw({.target = target});
  if (!response.ok() || response->status != 200) return "";
  std::string line = response->body;
  while (line.ends_with('\n')) line.pop_back();
  return line.substr(line.rfind('\n') + 1);
}

std::vector<kube::Object> EventsAbout(Access& access, const std::set<std::string>& names) {
  std::vector<kube::Object> events;
  for (const std::string& space : {access.namespace_name, std::string("default")}) {
    for (kube::Object& event :
         ListQuietly(access, kube::resources::kEventsV1, {.namespace_name = space})) {
      if (names.contains(std::string(event.StringAt({"regarding", "name"})))) {
        events.push_back(std::move(event));
      }
    }
    if (access.namespace_name == "default") break;
  }
  return events;
}

// Of the local cluster that this is, if it is one.
std::vector<std::string> DeadProcesses(const Access& access, const Options& options,
                                       const Environment& environment) {
  std::vector<std::string> dead;
  const absl::StatusOr<StateFolder> folder = FindStateFolder(options, environment);
  if (!folder.ok()) return dead;
  const auto status = ReadClusterStatus(*folder);
  if (!status.ok() || !status->has_value() || (*status)->api != access.connection.server) {
    return dead;
  }
  for (const ProcessInfo& process : (*status)->processes) {
    if (!IsAlive(process.pid)) dead.push_back(process.name);
  }
  return dead;
}

Evidence Gather(Access& access, const kube::Object& workspace) {
  Evidence evidence{.workspace = workspace};
  const std::string name(workspace.name());
  evidence.node_claims = ListQuietly(
      access, kube::resources::kNodeClaims,
      {.label_selector = absl::StrFormat("kaito.sh/workspace=%s,kaito.sh/workspacenamespace=%s",
                                         name, access.namespace_name)});
  evidence.pods = ListQuietly(
      access, kube::resources::kPods,
      {.namespace_name = access.namespace_name, .label_selector = "kaito.sh/workspace=" + name});
  std::set<std::string> names = {name};
  std::set<std::string> nodes;
  for (const kube::Object& claim : evidence.node_claims) {
    names.emplace(claim.name());
    nodes.emplace(claim.StringAt({"status", "nodeName"}));
  }
  for (const kube::Object& pod : evidence.pods) {
    names.emplace(pod.name());
    nodes.emplace(pod.StringAt({"spec", "nodeName"}));
  }
  nodes.erase("");
  for (const std::string& node : nodes) {
    auto object = access.client->Get(kube::resources::kNodes, {"", node});
    if (object.ok()) evidence.nodes.push_back(*std::move(object));
  }
  evidence.events = EventsAbout(access, names);
  for (const TroubledContainer& container : TroubledContainers(evidence.pods)) {
    evidence.last_log_lines.emplace_back(container.pod + "/" + container.container,
                                         LastLogLine(access, container));
  }
  return evidence;
}

void Print(const Explanation& explanation, const Options& options, std::ostream& out) {
  if (options.output == "json") {
    boost::json::array causes;
    for (const Cause& cause : explanation.causes) {
      causes.push_back({{"where", cause.where}, {"text", cause.text}});
    }
    out << boost::json::serialize(boost::json::value{{"ready", explanation.ready},
                                                     {"headline", explanation.headline},
                                                     {"causes", std::move(causes)},
                                                     {"nextStep", explanation.next_step}})
        << "\n";
    return;
  }
  out << explanation.headline << "\n";
  std::string indent = "  ";
  for (const Cause& cause : explanation.causes) {
    out << indent << cause.where << ": " << cause.text << "\n";
    if (indent.size() < 10) indent += "  ";
  }
  out << "next: " << explanation.next_step << "\n";
}

}  // namespace

absl::Status Why(const std::string& workspace_name, const Options& options,
                 const Environment& environment, const Streams& streams) {
  ASSIGN_OR_RETURN(Access access, OpenAccess(options, environment));
  ASSIGN_OR_RETURN(const kube::Object workspace, GetWorkspace(access, workspace_name));
  Evidence evidence = Gather(access, workspace);
  evidence.dead_processes = DeadProcesses(access, options, environment);
  const Explanation explanation = Explain(evidence);
  Print(explanation, options, streams.out);
  // The answer itself is on standard output; the code alone says that it is not ready.
  return explanation.ready ? absl::OkStatus() : absl::FailedPreconditionError("");
}

}  // namespace kaito
