// kaito run: from a preset or a manifest to a conversation.

#include <algorithm>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "kaito/kube_access.h"
#include "kaito/progress.h"
#include "kaito/verbs.h"

namespace kaito {
namespace {

namespace json = boost::json;

constexpr absl::Duration kReadyTimeout = absl::Minutes(30);

// "Org/Some.Model" → "workspace-some-model".
std::string NameFor(std::string_view model) {
  std::string name = "workspace-";
  for (const char c : model.substr(model.rfind('/') + 1)) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    const bool capital = c >= 'A' && c <= 'Z';
    name += letter ? c : capital ? static_cast<char>(c - 'A' + 'a') : '-';
  }
  return name.substr(0, 52);
}

kube::Object FromPreset(const std::string& model, const Options& options, const Access& access) {
  const std::string name = options.workspace_name.empty() ? NameFor(model) : options.workspace_name;
  kube::Object workspace(
      json::value{{"apiVersion", kube::resources::kWorkspaces.api_version()},
                  {"kind", kube::resources::kWorkspaces.kind},
                  {"metadata", {{"name", name}, {"namespace", access.namespace_name}}},
                  {"resource",
                   {{"instanceType", options.instance_type},
                    {"labelSelector", {{"matchLabels", {{"apps", name}}}}}}},
                  {"inference", {{"preset", {{"name", model}}}}}});
  // The local cluster's nodes are this machine, and its model folder is on them.
  if (access.connection.server.find("//127.0.0.1") != std::string::npos) {
    workspace.SetAnnotation("kaito.sh/use-local-weights", "true");
  }
  return workspace;
}

absl::StatusOr<kube::Object> FromFile(const std::string& path, const Access& access) {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path, 3 << 20));
  absl::StatusOr<std::vector<json::value>> documents = kube::ParseYaml(text);
  if (!documents.ok()) return base::Annotate(documents.status(), path);
  for (json::value& document : *documents) {
    if (kube::StringAt(document, {"kind"}) != "Workspace") continue;
    json::value& space = kube::MakePath(document, {"metadata", "namespace"});
    if (!space.is_string()) space = access.namespace_name;
    return kube::Object(std::move(document));
  }
  return absl::InternalError(absl::StrFormat("%s holds no Workspace", path));
}

// Applied without force: a user's own fields are not taken from him.
absl::StatusOr<kube::Object> Apply(Access& access, const kube::Object& wanted) {
  kube::Resource resource = kube::resources::kWorkspaces;
  const std::string api_version(wanted.api_version());
  resource.version = api_version.substr(api_version.find('/') + 1);
  return access.client->Patch(resource, wanted.key(), kube::PatchType::kApply, wanted.json());
}

}  // namespace

absl::Status Run(const std::string& model, const Options& options, const Environment& environment,
                 const Streams& streams) {
  ASSIGN_OR_RETURN(Access access, OpenAccess(options, environment));
  const bool is_file =
      model.ends_with(".yaml") || model.ends_with(".yml") || model.ends_with(".json");
  kube::Object wanted = FromPreset(model, options, access);
  if (is_file) {
    ASSIGN_OR_RETURN(wanted, FromFile(model, access));
  }
  access.namespace_name = std::string(wanted.namespace_name());
  ASSIGN_OR_RETURN(const kube::Object workspace, Apply(access, wanted));
  const std::string name(workspace.name());

  Progress progress(options, environment, streams.err);
  progress.Done(absl::StrFormat("workspace %s/%s applied", workspace.namespace_name(), name));
  std::vector<std::string> reached;
  const auto show = [&](const kube::Object& now) {
    for (const char* type : {"ResourceReady", "InferenceReady"}) {
      if (!kube::IsConditionTrue(now, type)) continue;
      if (std::ranges::find(reached, type) != reached.end()) continue;
      reached.emplace_back(type);
      progress.Done(type);
    }
    const std::string why = WhatHoldsBack(now);
    if (!why.empty()) progress.Doing(why);
  };
  const absl::Duration timeout =
      options.timeout > absl::ZeroDuration() ? options.timeout : kReadyTimeout;
  RETURN_IF_ERROR(AwaitWorkspace(access, workspace, timeout, IsWorkspaceReady, show).status());
  Options chat = options;
  chat.namespace_name = access.namespace_name;
  return Chat(name, chat, environment, streams);
}

}  // namespace kaito
