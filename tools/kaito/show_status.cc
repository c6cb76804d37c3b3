// kaito status: what runs, and what the Workspaces say.

#include <algorithm>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "kaito/cluster_state.h"
#include "kaito/kube_access.h"
#include "kaito/verbs.h"

namespace kaito {
namespace {

namespace json = boost::json;

std::string ModelOf(const kube::Object& workspace) {
  for (const char* section : {"inference", "tuning"}) {
    const std::string_view name = workspace.StringAt({section, "preset", "name"});
    if (!name.empty()) return std::string(name);
  }
  return "";
}

json::object WorkspaceJson(const kube::Object& workspace, const std::string& url) {
  json::object conditions;
  if (const json::value* list = workspace.Find({"status", "conditions"}); list != nullptr) {
    if (const json::array* array = list->if_array()) {
      for (const json::value& condition : *array) {
        conditions[kube::StringAt(condition, {"type"})] =
            json::string_view(kube::StringAt(condition, {"status"}));
      }
    }
  }
  return {{"name", json::string_view(workspace.name())},
          {"namespace", json::string_view(workspace.namespace_name())},
          {"model", ModelOf(workspace)},
          {"instanceType", json::string_view(workspace.StringAt({"resource", "instanceType"}))},
          {"ready", IsWorkspaceReady(workspace)},
          {"message", WhatHoldsBack(workspace)},
          {"conditions", std::move(conditions)},
          {"url", url}};
}

// The Workspaces of all namespaces; an empty list with `error` set when the cluster does not
// answer.
json::array ListWorkspaces(Access& access, std::string& error) {
  json::array result;
  const auto list = access.client->List(kube::resources::kWorkspaces);
  if (absl::IsNotFound(list.status())) return result;  // The kind is not installed.
  if (!list.ok()) {
    error = std::string(list.status().message());
    return result;
  }
  for (const kube::Object& workspace : list->items) {
    const auto service = access.client->Get(kube::resources::kServices, workspace.key());
    std::string url;
    if (service.ok()) {
      const std::optional<std::string> address = LocalAddress(*service, 80);
      if (address) url = "http://" + *address;
    }
    result.push_back(WorkspaceJson(workspace, url));
  }
  return result;
}

json::array ProcessesJson(const ClusterStatus& status) {
  json::array processes;
  const auto add = [&processes](const ProcessInfo& process) {
    json::object ports;
    for (const auto& [name, port] : process.ports) ports[name] = port;
    processes.push_back({{"name", process.name},
                         {"pid", process.pid},
                         {"ports", std::move(ports)},
                         {"running", IsAlive(process.pid)}});
  };
  const bool listed = std::ranges::any_of(
      status.processes, [&](const ProcessInfo& process) { return process.pid == status.pid; });
  if (!listed) {
    ProcessInfo self{.name = "local-cluster", .pid = status.pid, .ports = {}};
    for (const auto& [name, url] : {std::pair("api", status.api), std::pair("arm", status.arm)}) {
      const absl::StatusOr<net::Url> parsed = net::ParseUrl(url);
      if (parsed.ok()) self.ports[name] = parsed->port;
    }
    add(self);
  }
  for (const ProcessInfo& process : status.processes) add(process);
  return processes;
}

void PrintText(const json::object& report, std::ostream& out) {
  const json::value value(report);
  out << absl::StrFormat("cluster    %s (%s)\n", kube::StringAt(value, {"name"}),
                         kube::StringAt(value, {"state"}));
  for (const char* member : {"kubeconfig", "api", "arm"}) {
    const std::string_view text = kube::StringAt(value, {member});
    if (!text.empty()) out << absl::StrFormat("%-10s %s\n", member, text);
  }
  out << absl::StrFormat("\n%-24s %8s  %s\n", "PROCESS", "PID", "PORTS");
  for (const json::value& process : report.at("processes").as_array()) {
    std::string ports;
    for (const auto& port : process.at("ports").as_object()) {
      ports += absl::StrFormat("%s%s=%d", ports.empty() ? "" : " ", std::string_view(port.key()),
                               port.value().to_number<int>());
    }
    const bool running = kube::BoolAt(process, {"running"});
    out << absl::StrFormat("%-24s %8d  %s%s\n", kube::StringAt(process, {"name"}),
                           kube::IntAt(process, {"pid"}), running ? "" : "(not running) ", ports);
  }
  const json::array& workspaces = report.at("workspaces").as_array();
  if (!workspaces.empty()) out << absl::StrFormat("\n%-32s %-7s %s\n", "WORKSPACE", "READY", "");
  for (const json::value& workspace : workspaces) {
    const bool ready = kube::BoolAt(workspace, {"ready"});
    const std::string name = absl::StrFormat("%s/%s", kube::StringAt(workspace, {"namespace"}),
                                             kube::StringAt(workspace, {"name"}));
    out << absl::StrFormat("%-32s %-7s %s\n", name, ready ? "yes" : "no",
                           kube::StringAt(workspace, {ready ? "url" : "message"}));
  }
}

}  // namespace

absl::Status ShowStatus(const Options& options, const Environment& environment,
                        const Streams& streams) {
  ASSIGN_OR_RETURN(const StateFolder folder, FindStateFolder(options, environment));
  ASSIGN_OR_RETURN(const std::optional<ClusterStatus> status, ReadClusterStatus(folder));
  if (!status) {
    return absl::NotFoundError(
        absl::StrFormat("no cluster in %s: start one with `kaito up`", folder.path));
  }
  const bool running = IsAliveAs(status->pid, "local-cluster");
  json::object report{{"name", status->name.empty() ? options.name : status->name},
                      {"state", running ? "running" : "stopped"},
                      {"stateDir", folder.path},
                      {"kubeconfig", status->kubeconfig},
                      {"api", status->api},
                      {"arm", status->arm},
                      {"processes", ProcessesJson(*status)},
                      {"workspaces", json::array()}};
  std::string error;
  if (running) {
    Options here = options;
    here.kubeconfig = folder.kubeconfig();
    absl::StatusOr<Access> access = OpenAccess(here, environment);
    if (access.ok()) {
      report["workspaces"] = ListWorkspaces(*access, error);
    } else {
      error = std::string(access.status().message());
    }
  }
  if (options.output == "json") {
    streams.out << json::serialize(report) << "\n";
  } else {
    PrintText(report, streams.out);
  }
  if (!running) {
    return absl::UnavailableError("the cluster is stopped: start it with `kaito up`");
  }
  if (!error.empty()) {
    return absl::UnavailableError(absl::StrFormat("the cluster does not answer (%s): see %s", error,
                                                  folder.log_file("local-cluster")));
  }
  return absl::OkStatus();
}

}  // namespace kaito
