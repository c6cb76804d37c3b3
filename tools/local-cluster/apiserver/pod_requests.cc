#include "local-cluster/apiserver/pod_requests.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "common/kube/object.h"
#include "local-cluster/apiserver/schema/errors.h"
#include "local-cluster/apiserver/schema/json_edit.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

std::vector<std::string> ContainerNames(const value& pod, std::string_view list) {
  std::vector<std::string> names;
  const value* found = kube::FindPath(pod, {"spec", list});
  if (found == nullptr || !found->is_array()) return names;
  for (const value& one : found->get_array()) names.emplace_back(kube::StringAt(one, {"name"}));
  return names;
}

std::string Joined(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : " ") + name;
  return "[" + all + "]";
}

absl::StatusOr<std::string> Container(const net::Request& request, const value& pod) {
  const std::string asked = net::QueryParameter(request.query(), "container").value_or("");
  const std::string_view name = kube::StringAt(pod, {"metadata", "name"});
  std::vector<std::string> names = ContainerNames(pod, "containers");
  const std::vector<std::string> init = ContainerNames(pod, "initContainers");
  if (asked.empty()) {
    const std::string chosen(kube::StringAt(
        pod, {"metadata", "annotations", "kubectl.kubernetes.io/default-container"}));
    if (!chosen.empty()) return chosen;
    if (names.size() == 1 && init.empty()) return names[0];
    std::string why = absl::StrFormat(
        "a container name must be specified for pod %s, choose one of: %s", name, Joined(names));
    if (!init.empty()) why += absl::StrFormat(" or one of the init containers: %s", Joined(init));
    return BadRequestError(why);
  }
  names.insert(names.end(), init.begin(), init.end());
  if (std::ranges::find(names, asked) == names.end()) {
    return BadRequestError(absl::StrFormat("container %s is not valid for pod %s", asked, name));
  }
  return asked;
}

std::optional<int64_t> Number(std::string_view query, std::string_view name) {
  const auto text = net::QueryParameter(query, name);
  if (!text || text->empty()) return std::nullopt;
  return std::strtoll(text->c_str(), nullptr, 10);
}

bool Flag(std::string_view query, std::string_view name) {
  const std::string text = net::QueryParameter(query, name).value_or("");
  return text == "true" || text == "1";
}

class ExchangeLogSink final : public LogSink {
 public:
  explicit ExchangeLogSink(std::shared_ptr<net::Exchange> exchange)
      : exchange_(std::move(exchange)) {}

  bool Write(std::string text) override {
    Begin();
    return exchange_->Write(std::move(text));
  }
  void End() override {
    Begin();
    exchange_->End();
  }
  size_t unsent_bytes() const override { return exchange_->unsent_bytes(); }
  void OnClose(std::function<void()> callback) override { exchange_->OnClose(std::move(callback)); }

 private:
  void Begin() {
    absl::MutexLock lock(&mutex_);
    if (begun_) return;
    begun_ = true;
    exchange_->Begin(200, {{"Content-Type", "text/plain"}});
  }

  const std::shared_ptr<net::Exchange> exchange_;
  absl::Mutex mutex_;
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

absl::StatusOr<PodLogOptions> ParseLogOptions(const net::Request& request, const value& pod,
                                              absl::Time now) {
  const std::string_view query = request.query();
  PodLogOptions options;
  options.namespace_name = kube::StringAt(pod, {"metadata", "namespace"});
  options.pod = kube::StringAt(pod, {"metadata", "name"});
  options.pod_uid = kube::StringAt(pod, {"metadata", "uid"});
  ASSIGN_OR_RETURN(options.container, Container(request, pod));
  options.follow = Flag(query, "follow");
  options.previous = Flag(query, "previous");
  options.timestamps = Flag(query, "timestamps");
  options.tail_lines = Number(query, "tailLines");
  options.limit_bytes = Number(query, "limitBytes");
  if (const auto seconds = Number(query, "sinceSeconds")) {
    options.since = now - absl::Seconds(*seconds);
  } else if (const auto time = net::QueryParameter(query, "sinceTime")) {
    options.since = kube::ParseTime(*time);
  }
  if ((options.tail_lines && *options.tail_lines < 0) ||
      (options.limit_bytes && *options.limit_bytes < 1)) {
    return InvalidError({"", "podlogoptions", "PodLogOptions"}, options.pod,
                        {InvalidField(options.tail_lines ? "tailLines" : "limitBytes", value(-1),
                                      "must be greater than or equal to 0")});
  }
  return options;
}

absl::StatusOr<PodConnection> ParseConnection(const net::Request& request, const value& pod,
                                              const std::string& subresource) {
  const std::string_view query = request.query();
  PodConnection connection;
  connection.namespace_name = kube::StringAt(pod, {"metadata", "namespace"});
  connection.pod = kube::StringAt(pod, {"metadata", "name"});
  connection.subresource = subresource;
  if (subresource == "portforward") return connection;
  ASSIGN_OR_RETURN(connection.container, Container(request, pod));
  connection.command = net::QueryParameters(query, "command");
  connection.stdin_open = Flag(query, "stdin");
  connection.stdout_open = Flag(query, "stdout");
  connection.stderr_open = Flag(query, "stderr");
  connection.tty = Flag(query, "tty");
  return connection;
}

value BoundPod(value pod, const std::string& node, const std::string& now) {
  MakeObject(pod.as_object(), "spec")["nodeName"] = node;
  object& status = MakeObject(pod.as_object(), "status");
  value& conditions = status["conditions"];
  if (!conditions.is_array()) conditions = array();
  EraseIf(conditions.get_array(),
          [](const value& one) { return kube::StringAt(one, {"type"}) == "PodScheduled"; });
  conditions.get_array().push_back(object{{"type", "PodScheduled"},
                                          {"status", "True"},
                                          {"lastProbeTime", value()},
                                          {"lastTransitionTime", now}});
  return pod;
}

std::shared_ptr<LogSink> MakeExchangeLogSink(std::shared_ptr<net::Exchange> exchange) {
  return std::make_shared<ExchangeLogSink>(std::move(exchange));
}

absl::Status PodStreams::OpenConnection(const PodConnection& connection,
                                        std::shared_ptr<net::Exchange>) {
  return absl::UnimplementedError(
      absl::StrFormat("%s is not supported here", connection.subresource));
}

}  // namespace local_cluster
