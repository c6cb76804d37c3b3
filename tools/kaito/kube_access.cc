#include "kaito/kube_access.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/flags.h"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "kaito/cluster_state.h"

namespace kaito {
namespace {

constexpr char kPortsAnnotation[] = "local-cluster.kaito.sh/ports";
constexpr int kServicePort = 80;

absl::StatusOr<kube::Connection> Connect(const Options& options, const Environment& environment) {
  kube::ConnectionOptions connect{.kubeconfig = options.kubeconfig,
                                  .context = options.context,
                                  .user_agent = "kaito",
                                  .service_host = environment.service_host,
                                  .service_port = environment.service_port,
                                  .home = environment.home};
  if (!options.kubeconfig.empty()) return kube::Connect(connect);
  const bool chosen = options.name_given || !options.state_dir.empty();
  if (!chosen && !environment.kubeconfig.empty()) {
    connect.kubeconfig = environment.kubeconfig;
    return kube::Connect(connect);
  }
  const absl::StatusOr<StateFolder> folder = FindStateFolder(options, environment);
  if (chosen) RETURN_IF_ERROR(folder.status());
  if (folder.ok() && base::FileExists(folder->kubeconfig())) {
    connect.kubeconfig = folder->kubeconfig();
  } else if (chosen) {
    return absl::UnavailableError(
        absl::StrFormat("no cluster was ever started in %s: run `kaito up`", folder->path));
  }
  absl::StatusOr<kube::Connection> connection = kube::Connect(connect);
  if (absl::IsNotFound(connection.status())) {
    return absl::UnavailableError(
        "no cluster: start one with `kaito up`, or name one with --kubeconfig");
  }
  return connection;
}

// What only the user can mend; "" when nothing is.
std::string WhatStalls(const kube::Object& workspace) {
  const std::optional<kube::Condition> stalled = kube::FindCondition(workspace, "Stalled");
  if (!stalled || stalled->status != "True" ||
      stalled->observed_generation < workspace.generation()) {
    return "";
  }
  return absl::StrFormat("%s: %s", stalled->reason, stalled->message);
}

// A call that did not reach the cluster says what to do about it.
absl::Status Explain(const Access& access, const absl::Status& status) {
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
  return absl::UnavailableError(absl::StrFormat(
      "the cluster at %s does not answer (%s): is it running? `kaito status` shows it",
      access.connection.server, std::string(status.message())));
}

absl::Status NoSuchWorkspace(Access& access, const std::string& name) {
  const auto list =
      access.client->List(kube::resources::kWorkspaces, {.namespace_name = access.namespace_name});
  std::vector<std::string> names;
  if (list.ok()) {
    for (const kube::Object& item : list->items) names.emplace_back(item.name());
  }
  const std::string nearest = base::NearestName(name, names);
  std::string hint = "`kubectl get workspaces -A` lists them";
  if (!nearest.empty()) hint = absl::StrFormat("did you mean %s?", nearest);
  if (nearest.empty() && names.size() == 1) hint = absl::StrFormat("there is %s", names.front());
  return absl::NotFoundError(
      absl::StrFormat("no workspace %s in namespace %s: %s", name, access.namespace_name, hint));
}

class DirectEndpoint final : public Endpoint {
 public:
  explicit DirectEndpoint(const std::string& address)
      : url_("http://" + address), http_({.base_url = url_, .user_agent = "kaito"}) {}
  std::string url() const override { return url_; }
  absl::StatusOr<net::Response> Send(const net::Request& request) override {
    return http_.Send(request);
  }
  absl::StatusOr<std::unique_ptr<net::HttpStream>> Open(const net::Request& request) override {
    return http_.Open(request, absl::Minutes(5));
  }

 private:
  const std::string url_;
  net::HttpClient http_;
};

class ProxyEndpoint final : public Endpoint {
 public:
  ProxyEndpoint(Access& access, const std::string& workspace)
      : access_(access),
        prefix_(
            kube::resources::kServices.Path(
                {access.namespace_name, absl::StrFormat("http:%s:%d", workspace, kServicePort)}) +
            "/proxy") {}
  std::string url() const override { return access_.connection.server + prefix_; }
  absl::StatusOr<net::Response> Send(const net::Request& request) override {
    return access_.client->Raw(Prefixed(request));
  }
  absl::StatusOr<std::unique_ptr<net::HttpStream>> Open(const net::Request& request) override {
    return access_.client->RawStream(Prefixed(request));
  }

 private:
  net::Request Prefixed(net::Request request) const {
    request.target = prefix_ + request.target;
    return request;
  }
  Access& access_;
  const std::string prefix_;
};

}  // namespace

absl::StatusOr<Access> OpenAccess(const Options& options, const Environment& environment) {
  absl::StatusOr<kube::Connection> connection = Connect(options, environment);
  RETURN_IF_ERROR(connection.status());
  Access access{.connection = *std::move(connection), .client = nullptr, .namespace_name = ""};
  access.client = std::make_unique<kube::Client>(
      *access.connection.transport,
      kube::ClientOptions{
          .field_manager = "kaito", .user_agent = "kaito", .call_timeout = absl::Seconds(10)});
  access.namespace_name =
      options.namespace_name.empty() ? access.connection.namespace_name : options.namespace_name;
  return access;
}

absl::StatusOr<kube::Object> GetWorkspace(Access& access, const std::string& name) {
  absl::StatusOr<kube::Object> workspace =
      access.client->Get(kube::resources::kWorkspaces, access.Key(name));
  if (absl::IsNotFound(workspace.status())) return NoSuchWorkspace(access, name);
  if (!workspace.ok()) return Explain(access, workspace.status());
  return workspace;
}

bool IsWorkspaceReady(const kube::Object& workspace) {
  if (workspace.being_deleted()) return false;
  for (const char* type : {"Ready", "WorkspaceSucceeded", "WorkspaceReady"}) {
    const std::optional<kube::Condition> condition = kube::FindCondition(workspace, type);
    if (!condition) continue;
    // What was said of an older generation no longer counts.
    return condition->status == "True" &&
           (condition->observed_generation == 0 ||
            condition->observed_generation >= workspace.generation());
  }
  return false;
}

std::string WhatHoldsBack(const kube::Object& workspace) {
  for (const char* type : {"NodeClaimReady", "NodesReady", "ResourceReady", "InferenceReady",
                           "JobStarted", "WorkspaceSucceeded", "Ready"}) {
    const std::optional<kube::Condition> condition = kube::FindCondition(workspace, type);
    if (!condition || condition->status == "True") continue;
    return absl::StrFormat("%s is %s (%s)%s%s", condition->type, condition->status,
                           condition->reason, condition->message.empty() ? "" : ": ",
                           condition->message);
  }
  return "";
}

absl::StatusOr<kube::Object> AwaitWorkspace(
    Access& access, kube::Object workspace, absl::Duration timeout,
    const std::function<bool(const kube::Object&)>& done,
    const std::function<void(const kube::Object&)>& changed) {
  const absl::Time deadline = absl::Now() + timeout;
  const kube::ObjectKey key = workspace.key();
  std::unique_ptr<kube::Watch> watch;
  while (true) {
    changed(workspace);
    if (done(workspace)) return workspace;
    if (const std::string stalled = WhatStalls(workspace); !stalled.empty()) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "workspace %s needs you: %s; `kaito why %s` says more", key.name, stalled, key.name));
    }
    std::optional<kube::WatchEvent> event;
    while (!event) {
      if (absl::Now() >= deadline) {
        const std::string why = WhatHoldsBack(workspace);
        return absl::FailedPreconditionError(absl::StrFormat(
            "workspace %s is not ready within %s%s%s; `kaito why %s` says more", key.name,
            absl::FormatDuration(timeout), why.empty() ? "" : ": ", why, key.name));
      }
      if (watch == nullptr) {
        auto opened = access.client->StartWatch(
            kube::resources::kWorkspaces,
            {.namespace_name = key.namespace_name,
             .field_selector = "metadata.name=" + key.name,
             .resource_version = std::string(workspace.resource_version())});
        if (opened.ok()) watch = *std::move(opened);
      }
      absl::StatusOr<std::optional<kube::WatchEvent>> next = absl::UnavailableError("no watch");
      if (watch != nullptr) {
        next = watch->Next(std::min(deadline - absl::Now(), absl::Duration(absl::Seconds(1))));
      }
      if (absl::IsDeadlineExceeded(next.status())) continue;
      if (next.ok() && next->has_value()) {
        event = **std::move(next);
        if (event->type == kube::WatchEvent::Type::kBookmark) event.reset();
        continue;
      }
      // The watch ended, was cut or is too old: look for ourselves, then watch on from there.
      watch.reset();
      absl::SleepFor(absl::Milliseconds(200));
      absl::StatusOr<kube::Object> now = access.client->Get(kube::resources::kWorkspaces, key);
      if (absl::IsNotFound(now.status())) return now;
      if (now.ok())
        event = kube::WatchEvent{.type = kube::WatchEvent::Type::kModified, .object = *now};
    }
    if (event->type == kube::WatchEvent::Type::kDeleted) {
      return absl::NotFoundError(absl::StrFormat("workspace %s was deleted", key.name));
    }
    workspace = std::move(event->object);
  }
}

std::optional<std::string> LocalAddress(const kube::Object& service, int port) {
  const std::string_view annotation = service.annotation(kPortsAnnotation);
  if (annotation.empty()) return std::nullopt;
  const absl::StatusOr<boost::json::value> ports = kube::ParseJson(annotation);
  if (!ports.ok()) return std::nullopt;
  const std::string_view address = kube::StringAt(*ports, {absl::StrFormat("%d", port)});
  if (address.empty()) return std::nullopt;
  return std::string(address);
}

absl::StatusOr<std::unique_ptr<Endpoint>> FindEndpoint(Access& access,
                                                       const std::string& workspace) {
  const auto service = access.client->Get(kube::resources::kServices, access.Key(workspace));
  if (absl::IsNotFound(service.status())) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "workspace %s has no Service yet; `kaito why %s` says why", workspace, workspace));
  }
  if (!service.ok()) return Explain(access, service.status());
  if (const std::optional<std::string> address = LocalAddress(*service, kServicePort)) {
    return std::make_unique<DirectEndpoint>(*address);
  }
  return std::make_unique<ProxyEndpoint>(access, workspace);
}

}  // namespace kaito
