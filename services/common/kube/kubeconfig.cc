#include "common/kube/kubeconfig.h"

#include <filesystem>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/kube/http_transport.h"
#include "common/kube/json.h"

namespace kube {
namespace {

namespace json = boost::json;

constexpr uint64_t kFileBytesMax = 3 << 20;

// A named entry of a kubeconfig, and the folder of the file that it came from: paths in it are
// relative to that.
struct Entry {
  json::value body;
  std::string folder;
};

struct Config {
  std::string current_context;
  std::map<std::string, Entry> clusters, users, contexts;
};

void AddEntries(const json::value& file, std::string_view list, std::string_view member,
                const std::string& folder, std::map<std::string, Entry>& entries) {
  const json::value* found = FindPath(file, {list});
  const json::array* array = found == nullptr ? nullptr : found->if_array();
  if (array == nullptr) return;
  for (const json::value& element : *array) {
    const json::value* body = FindPath(element, {member});
    if (body == nullptr) continue;
    // The first file wins.
    entries.emplace(StringAt(element, {"name"}), Entry{.body = *body, .folder = folder});
  }
}

absl::Status AddFile(const std::string& path, Config& config) {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path, kFileBytesMax));
  absl::StatusOr<std::vector<json::value>> documents = ParseYaml(text);
  if (!documents.ok()) return base::Annotate(documents.status(), path);
  if (documents->empty()) return absl::OkStatus();
  const json::value& file = documents->front();
  const std::string folder = std::filesystem::absolute(path).parent_path().string();
  AddEntries(file, "clusters", "cluster", folder, config.clusters);
  AddEntries(file, "users", "user", folder, config.users);
  AddEntries(file, "contexts", "context", folder, config.contexts);
  if (config.current_context.empty()) {
    config.current_context = StringAt(file, {"current-context"});
  }
  return absl::OkStatus();
}

absl::StatusOr<Config> ReadConfig(const std::string& paths) {
  Config config;
  bool any = false;
  for (size_t begin = 0; begin <= paths.size();) {
    const size_t end = std::min(paths.find(':', begin), paths.size());
    const std::string path = paths.substr(begin, end - begin);
    begin = end + 1;
    if (path.empty()) continue;
    const absl::Status status = AddFile(path, config);
    if (absl::IsNotFound(status)) continue;  // As kubectl does, if another of the list is there.
    RETURN_IF_ERROR(status);
    any = true;
  }
  if (!any) return absl::NotFoundError(absl::StrFormat("no kubeconfig at %s", paths));
  return config;
}

const Entry* FindEntry(const std::map<std::string, Entry>& entries, std::string_view name) {
  const auto found = entries.find(std::string(name));
  return found == entries.end() ? nullptr : &found->second;
}

std::string PathOf(const Entry& entry, std::string_view member) {
  const std::string_view text = StringAt(entry.body, {member});
  if (text.empty() || text.starts_with('/')) return std::string(text);
  return (std::filesystem::path(entry.folder) / text).lexically_normal().string();
}

// `member` holds base64.
absl::StatusOr<std::string> DataOf(const Entry& entry, std::string_view member) {
  const std::string text(StringAt(entry.body, {member}));
  std::string data;
  if (!absl::Base64Unescape(text, &data)) {
    return absl::InvalidArgumentError(absl::StrFormat("kubeconfig: %s is no base64", member));
  }
  return data;
}

absl::Status RefuseMember(const Entry& entry, std::string_view member) {
  if (FindPath(entry.body, {member}) == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "kubeconfig: \"%s\" is not supported, use a token, a certificate or \"exec\"", member));
}

ExecPlugin ParseExec(const Entry& user, const Entry& cluster) {
  const json::value& exec = *FindPath(user.body, {"exec"});
  ExecPlugin plugin;
  plugin.command = StringAt(exec, {"command"});
  if (plugin.command.find('/') != std::string::npos && !plugin.command.starts_with('/')) {
    plugin.command = (std::filesystem::path(user.folder) / plugin.command).string();
  }
  plugin.arguments = StringsAt(exec, {"args"});
  plugin.api_version = StringAt(exec, {"apiVersion"}, plugin.api_version);
  plugin.install_hint = StringAt(exec, {"installHint"});
  if (const json::value* environment = FindPath(exec, {"env"}); environment != nullptr) {
    if (const json::array* entries = environment->if_array()) {
      for (const json::value& entry : *entries) {
        plugin.environment.emplace(StringAt(entry, {"name"}), StringAt(entry, {"value"}));
      }
    }
  }
  if (BoolAt(exec, {"provideClusterInfo"})) {
    json::object info;
    for (const char* member : {"server", "certificate-authority-data", "tls-server-name"}) {
      if (const json::value* value = FindPath(cluster.body, {member})) info[member] = *value;
    }
    plugin.cluster_info_json = json::serialize(info);
  }
  return plugin;
}

absl::StatusOr<std::unique_ptr<CredentialSource>> ParseUser(const Entry& user,
                                                            const Entry& cluster) {
  RETURN_IF_ERROR(RefuseMember(user, "auth-provider"));
  if (FindPath(user.body, {"exec"}) != nullptr) {
    ExecPlugin plugin = ParseExec(user, cluster);
    const std::string_view mode = StringAt(user.body, {"exec", "interactiveMode"});
    if (plugin.command.empty() ||
        !plugin.api_version.starts_with("client.authentication.k8s.io/v1")) {
      return absl::InvalidArgumentError(
          "kubeconfig: \"exec\" needs a command and client.authentication.k8s.io/v1 or v1beta1");
    }
    if (mode == "Always") {
      return absl::InvalidArgumentError(absl::StrFormat(
          "kubeconfig: %s wants a terminal (interactiveMode Always)", plugin.command));
    }
    return MakeExecCredential(std::move(plugin));
  }
  Credential fixed;
  ASSIGN_OR_RETURN(fixed.certificate_pem, DataOf(user, "client-certificate-data"));
  ASSIGN_OR_RETURN(fixed.private_key_pem, DataOf(user, "client-key-data"));
  const std::string_view token = StringAt(user.body, {"token"});
  const std::string_view name = StringAt(user.body, {"username"});
  if (!token.empty()) {
    fixed.authorization = absl::StrFormat("Bearer %s", token);
  } else if (!name.empty()) {
    const std::string pair = absl::StrFormat("%s:%s", name, StringAt(user.body, {"password"}));
    fixed.authorization = "Basic " + absl::Base64Escape(pair);
  }
  CredentialFiles files{.token_path = PathOf(user, "tokenFile"),
                        .certificate_path = PathOf(user, "client-certificate"),
                        .private_key_path = PathOf(user, "client-key")};
  if (files.token_path.empty() && files.certificate_path.empty() &&
      files.private_key_path.empty()) {
    return MakeFixedCredential(std::move(fixed));
  }
  return MakeFileCredential(std::move(files), std::move(fixed));
}

std::vector<std::pair<std::string, std::string>> Impersonation(const Entry& user) {
  std::vector<std::pair<std::string, std::string>> headers;
  const std::string_view name = StringAt(user.body, {"as"});
  if (name.empty()) return headers;
  headers.emplace_back("Impersonate-User", name);
  for (const std::string& group : StringsAt(user.body, {"as-groups"})) {
    headers.emplace_back("Impersonate-Group", group);
  }
  const std::string_view uid = StringAt(user.body, {"as-uid"});
  if (!uid.empty()) headers.emplace_back("Impersonate-Uid", uid);
  return headers;
}

absl::StatusOr<HttpTransportOptions> ParseCluster(const Entry& cluster,
                                                  const std::string& user_agent) {
  RETURN_IF_ERROR(RefuseMember(cluster, "proxy-url"));
  HttpTransportOptions options;
  options.http.user_agent = user_agent;
  options.http.base_url = StringAt(cluster.body, {"server"});
  while (options.http.base_url.ends_with('/')) options.http.base_url.pop_back();
  if (!options.http.base_url.starts_with("unix:")) {
    RETURN_IF_ERROR(
        base::Annotate(net::ParseUrl(options.http.base_url).status(), "kubeconfig: server"));
  }
  ASSIGN_OR_RETURN(options.http.tls.ca_pem, DataOf(cluster, "certificate-authority-data"));
  if (options.http.tls.ca_pem.empty()) options.ca_path = PathOf(cluster, "certificate-authority");
  options.http.tls.server_name = StringAt(cluster.body, {"tls-server-name"});
  options.http.tls.insecure_skip_verify = BoolAt(cluster.body, {"insecure-skip-tls-verify"});
  return options;
}

absl::StatusOr<Connection> ConnectByFile(const ConnectionOptions& options,
                                         const std::string& paths) {
  ASSIGN_OR_RETURN(const Config config, ReadConfig(paths));
  const std::string& name = options.context.empty() ? config.current_context : options.context;
  if (name.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s has no current-context: choose one with --context", paths));
  }
  const Entry* context = FindEntry(config.contexts, name);
  if (context == nullptr) {
    return absl::InvalidArgumentError(absl::StrFormat("%s has no context \"%s\"", paths, name));
  }
  const Entry* cluster = FindEntry(config.clusters, StringAt(context->body, {"cluster"}));
  if (cluster == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: context \"%s\" names no cluster that exists", paths, name));
  }
  const std::string_view user_name = StringAt(context->body, {"user"});
  const Entry nobody{.body = json::object(), .folder = ""};
  const Entry* user = user_name.empty() ? &nobody : FindEntry(config.users, user_name);
  if (user == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: context \"%s\" names no user that exists", paths, name));
  }
  ASSIGN_OR_RETURN(HttpTransportOptions transport, ParseCluster(*cluster, options.user_agent));
  transport.headers = Impersonation(*user);
  ASSIGN_OR_RETURN(std::unique_ptr<CredentialSource> credentials, ParseUser(*user, *cluster));
  Connection connection;
  connection.server = transport.http.base_url;
  connection.namespace_name = StringAt(context->body, {"namespace"}, "default");
  connection.transport =
      std::make_unique<HttpTransport>(std::move(transport), std::move(credentials));
  return connection;
}

absl::StatusOr<Connection> ConnectInCluster(const ConnectionOptions& options) {
  const std::string& folder = options.service_account_folder;
  const bool is_ipv6 = options.service_host.find(':') != std::string::npos;
  HttpTransportOptions transport;
  transport.http.user_agent = options.user_agent;
  const std::string host =
      is_ipv6 ? absl::StrFormat("[%s]", options.service_host) : options.service_host;
  transport.http.base_url = absl::StrFormat(
      "https://%s:%s", host, options.service_port.empty() ? "443" : options.service_port);
  transport.ca_path = folder + "/ca.crt";
  Connection connection;
  connection.server = transport.http.base_url;
  connection.namespace_name = base::ReadFile(folder + "/namespace", 1 << 10).value_or("default");
  connection.transport = std::make_unique<HttpTransport>(
      std::move(transport),
      MakeFileCredential(
          {.token_path = folder + "/token", .certificate_path = "", .private_key_path = ""}, {}));
  return connection;
}

}  // namespace

absl::StatusOr<Connection> Connect(const ConnectionOptions& options) {
  if (!options.kubeconfig.empty()) return ConnectByFile(options, options.kubeconfig);
  if (!options.service_host.empty()) return ConnectInCluster(options);
  if (options.home.empty()) {
    return absl::InvalidArgumentError("no cluster is named: give --kubeconfig or set KUBECONFIG");
  }
  return ConnectByFile(options, options.home + "/.kube/config");
}

}  // namespace kube
