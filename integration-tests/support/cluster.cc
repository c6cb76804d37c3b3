#include "integration-tests/support/cluster.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <signal.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"

namespace integration {

bool Await(const std::function<bool()>& condition, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return true;
}

std::string Binary(std::string_view name) {
  return absl::StrFormat("%s/%s", KAITO_BINARY_DIR, name);
}

std::string SourcePath(std::string_view path) {
  return absl::StrFormat("%s/%s", KAITO_SOURCE_DIR, path);
}

std::string SampleModel() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string root = cache != nullptr  ? std::string(cache)
                           : home != nullptr ? std::string(home) + "/.cache"
                                             : "";
  std::string path = root + "/kaito/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
  return base::FileExists(path) ? path : "";
}

Cluster::Cluster() {
  std::string folder = testing::TempDir() + "kaito-XXXXXX";
  state_dir_ = mkdtemp(folder.data());
}

Cluster::~Cluster() {
  if (testing::Test::HasFailure()) PrintLogs();
  Down();
  EXPECT_TRUE(base::RemoveAll(state_dir_).ok());
}

CommandResult Cluster::Kaito(std::string_view verb, const std::vector<std::string>& arguments,
                             absl::Duration timeout) const {
  std::vector<std::string> command = {Binary("kaito"), std::string(verb), "--state-dir",
                                      state_dir_};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return RunCommand(command, {.timeout = timeout});
}

void Cluster::Up() {
  const CommandResult up = Kaito("up", {"--detach"});
  ASSERT_EQ(up.exit_code, 0) << up.out << up.err;
}

void Cluster::Down() {
  client_.reset();
  Kaito("down", {"--delete-data"});
  const std::vector<pid_t> left = Processes();
  EXPECT_TRUE(left.empty()) << left.size() << " processes are left after kaito down";
  for (const pid_t pid : left) kill(pid, SIGKILL);
}

kube::Client& Cluster::client() {
  absl::StatusOr<kube::Connection> connection =
      kube::Connect({.kubeconfig = kubeconfig(), .user_agent = "integration-test"});
  if (connection.ok()) {
    client_.reset();
    connection_ = *std::move(connection);
    client_ = std::make_unique<kube::Client>(*connection_.transport,
                                             kube::ClientOptions{.field_manager = "test"});
  } else {
    ADD_FAILURE() << connection.status();
  }
  return *client_;
}

absl::Status Cluster::Apply(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path));
  return ApplyText(text);
}

absl::Status Cluster::ApplyText(std::string_view yaml) {
  ASSIGN_OR_RETURN(std::vector<boost::json::value> documents, kube::ParseYaml(yaml));
  for (boost::json::value& document : documents) {
    kube::Object object(std::move(document));
    if (object.kind() != "Workspace") return absl::InvalidArgumentError("only Workspaces here");
    if (object.namespace_name().empty()) {
      kube::MakePath(object.mutable_json(), {"metadata", "namespace"}) = "default";
    }
    kube::Resource resource = kube::resources::kWorkspaces;
    const std::string version(object.api_version());
    resource.version = version.substr(version.find('/') + 1);
    RETURN_IF_ERROR(client().Apply(resource, object).status());
  }
  return absl::OkStatus();
}

std::optional<kube::Object> Cluster::Get(const kube::Resource& resource,
                                         const kube::ObjectKey& key) {
  absl::StatusOr<kube::Object> object = client().Get(resource, key);
  if (!object.ok()) return std::nullopt;
  return *std::move(object);
}

std::vector<kube::Object> Cluster::List(const kube::Resource& resource) {
  absl::StatusOr<kube::ObjectList> list = client().List(resource);
  EXPECT_TRUE(list.ok()) << list.status();
  return list.ok() ? list->items : std::vector<kube::Object>{};
}

std::string Cluster::ConditionText(std::string_view workspace, std::string_view type) {
  const std::optional<kube::Object> object =
      Get(kube::resources::kWorkspaces, {"default", std::string(workspace)});
  if (!object) return "";
  const std::optional<kube::Condition> condition = kube::FindCondition(*object, type);
  if (!condition) return "";
  return absl::StrFormat("%s %s: %s", condition->status, condition->reason, condition->message);
}

bool Cluster::AwaitCondition(std::string_view workspace, std::string_view type,
                             std::string_view status, absl::Duration timeout) {
  const std::string prefix = absl::StrFormat("%s ", status);
  return Await([&] { return ConditionText(workspace, type).rfind(prefix, 0) == 0; }, timeout);
}

std::optional<kube::Object> Cluster::StatusFile() const {
  const absl::StatusOr<std::string> text = base::ReadFile(state_dir_ + "/status.json");
  if (!text.ok()) return std::nullopt;
  absl::StatusOr<kube::Object> object = kube::Object::Parse(*text);
  if (!object.ok()) return std::nullopt;
  return *std::move(object);
}

std::string Cluster::ArmUrl() const {
  const std::optional<kube::Object> status = StatusFile();
  return status ? std::string(status->StringAt({"arm"})) : "";
}

pid_t Cluster::Pid(std::string_view name) const {
  const CommandResult status = Kaito("status", {"-o", "json"});
  const absl::StatusOr<kube::Object> object = kube::Object::Parse(status.out);
  if (object.ok()) {
    const boost::json::value* processes = object->Find({"processes"});
    if (processes != nullptr && processes->is_array()) {
      for (const boost::json::value& process : processes->get_array()) {
        if (kube::StringAt(process, {"name"}) == name) {
          return static_cast<pid_t>(kube::IntAt(process, {"pid"}));
        }
      }
    }
  }
  // A container's process: the binary itself, in a folder of this cluster.
  const std::string binary = Binary(name);
  for (const pid_t pid : ProcessesWith(binary)) {
    std::error_code error;
    const std::string proc = absl::StrFormat("/proc/%d", pid);
    const std::string exe = std::filesystem::read_symlink(proc + "/exe", error).string();
    const std::string folder = std::filesystem::read_symlink(proc + "/cwd", error).string();
    if (exe == binary && folder.rfind(state_dir_, 0) == 0) return pid;
  }
  return 0;
}

std::string Cluster::ServiceUrl(std::string_view service, int port) {
  const std::optional<kube::Object> object =
      Get(kube::resources::kServices, {"default", std::string(service)});
  if (!object) return "";
  const absl::StatusOr<kube::Object> ports =
      kube::Object::Parse(object->annotation("local-cluster.kaito.sh/ports"));
  if (!ports.ok()) return "";
  const std::string_view address = ports->StringAt({std::to_string(port)});
  return address.empty() ? "" : absl::StrFormat("http://%s", address);
}

absl::StatusOr<net::Response> Cluster::Http(const std::string& url, std::string_view method,
                                            std::string_view target, std::string body,
                                            absl::Duration timeout) const {
  net::HttpClient client({.base_url = url});
  net::Request request{.method = std::string(method), .target = std::string(target)};
  if (!body.empty()) request.headers.Set("Content-Type", "application/json");
  request.body = std::move(body);
  return client.Send(request, timeout);
}

void Cluster::PrintLogs() const {
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(state_dir_, error)) {
    if (entry.path().extension() != ".log") continue;
    const absl::StatusOr<std::string> text = base::ReadFile(entry.path().string());
    if (!text.ok() || text->empty()) continue;
    const size_t from = text->size() > 4000 ? text->size() - 4000 : 0;
    std::printf("--- %s\n%s\n", entry.path().c_str(), text->c_str() + from);
  }
}

}  // namespace integration
