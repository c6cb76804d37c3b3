// Credentials from a program, as kubeconfig's `exec` entries ask for.

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/kube/credentials.h"
#include "common/kube/json.h"
#include "common/kube/object.h"

namespace kube {
namespace {

namespace json = boost::json;

constexpr size_t kOutputBytesMax = 1 << 20;

// The two ends of a pipe; each is closed once.
struct Pipe {
  int read_end = -1;
  int write_end = -1;
  ~Pipe() {
    CloseWrite();
    if (read_end >= 0) close(read_end);
  }
  absl::Status Open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return base::ErrnoStatus(errno, "pipe");
    read_end = ends[0];
    write_end = ends[1];
    return absl::OkStatus();
  }
  void CloseWrite() {
    if (write_end >= 0) close(std::exchange(write_end, -1));
  }
};

std::vector<std::string> Environment(const ExecPlugin& plugin, const std::string& info) {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string name(text.substr(0, text.find('=')));
    if (name != "KUBERNETES_EXEC_INFO" && !plugin.environment.contains(name)) {
      entries.emplace_back(text);
    }
  }
  for (const auto& [name, value] : plugin.environment) {
    entries.push_back(absl::StrFormat("%s=%s", name, value));
  }
  entries.push_back("KUBERNETES_EXEC_INFO=" + info);
  return entries;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

absl::StatusOr<pid_t> Spawn(const ExecPlugin& plugin, const std::string& info, const Pipe& output) {
  std::vector<std::string> arguments = {plugin.command};
  arguments.insert(arguments.end(), plugin.arguments.begin(), plugin.arguments.end());
  std::vector<std::string> environment = Environment(plugin, info);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.write_end, STDOUT_FILENO);
  // Our main functions block signals; the program must not inherit that.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, plugin.command.c_str(), &actions, &attributes,
                                 Pointers(arguments).data(), Pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return absl::UnauthenticatedError(
        absl::StrFormat("run %s: %s%s%s", plugin.command, std::strerror(error),
                        plugin.install_hint.empty() ? "" : ". ", plugin.install_hint));
  }
  return pid;
}

// Reads until the program closes its output.
absl::StatusOr<std::string> ReadAll(int fd, absl::Duration timeout, const std::string& command) {
  std::string output;
  const absl::Duration deadline = base::RealClock().Monotonic() + timeout;
  while (true) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - base::RealClock().Monotonic());
    pollfd poller{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = left <= 0 ? 0 : poll(&poller, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      return absl::UnauthenticatedError(absl::StrFormat("%s gave no credential in time", command));
    }
    char bytes[4096];
    const ssize_t count = read(fd, bytes, sizeof(bytes));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return output;
    output.append(bytes, static_cast<size_t>(count));
    if (output.size() > kOutputBytesMax) {
      return absl::UnauthenticatedError(absl::StrFormat("%s printed too much", command));
    }
  }
}

absl::StatusOr<std::string> Run(const ExecPlugin& plugin, const std::string& info) {
  Pipe output;
  RETURN_IF_ERROR(output.Open());
  ASSIGN_OR_RETURN(const pid_t pid, Spawn(plugin, info, output));
  output.CloseWrite();
  absl::StatusOr<std::string> text = ReadAll(output.read_end, plugin.timeout, plugin.command);
  if (!text.ok()) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  RETURN_IF_ERROR(text.status());
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return absl::UnauthenticatedError(
        absl::StrFormat("%s ended with status %d; its own message is on standard error",
                        plugin.command, WIFEXITED(status) ? WEXITSTATUS(status) : status));
  }
  return text;
}

class ExecCredential final : public CredentialSource {
 public:
  ExecCredential(ExecPlugin plugin, const base::Clock& clock)
      : plugin_(std::move(plugin)), clock_(clock) {}

  absl::StatusOr<Credential> Get(bool renew) override {
    absl::MutexLock lock(&mutex_);
    if (cached_ && !renew && clock_.Now() < expires_) return *cached_;
    ASSIGN_OR_RETURN(const std::string text, Run(plugin_, Info()));
    const absl::StatusOr<json::value> answer = ParseJson(text);
    if (!answer.ok() || StringAt(*answer, {"kind"}) != "ExecCredential" ||
        StringAt(*answer, {"apiVersion"}) != plugin_.api_version) {
      return absl::UnauthenticatedError(absl::StrFormat("%s printed no ExecCredential of %s",
                                                        plugin_.command, plugin_.api_version));
    }
    Credential credential;
    const std::string_view token = StringAt(*answer, {"status", "token"});
    if (!token.empty()) credential.authorization = absl::StrFormat("Bearer %s", token);
    credential.certificate_pem = StringAt(*answer, {"status", "clientCertificateData"});
    credential.private_key_pem = StringAt(*answer, {"status", "clientKeyData"});
    if (credential == Credential()) {
      return absl::UnauthenticatedError(
          absl::StrFormat("%s gave neither token nor certificate", plugin_.command));
    }
    expires_ = ParseTime(StringAt(*answer, {"status", "expirationTimestamp"}))
                   .value_or(absl::InfiniteFuture());
    cached_ = std::move(credential);
    return *cached_;
  }

 private:
  std::string Info() const {
    json::value info{{"apiVersion", plugin_.api_version},
                     {"kind", "ExecCredential"},
                     {"spec", {{"interactive", false}}}};
    if (!plugin_.cluster_info_json.empty()) {
      const absl::StatusOr<json::value> cluster = ParseJson(plugin_.cluster_info_json);
      if (cluster.ok()) MakePath(info, {"spec", "cluster"}) = *cluster;
    }
    return json::serialize(info);
  }

  const ExecPlugin plugin_;
  const base::Clock& clock_;
  absl::Mutex mutex_;
  std::optional<Credential> cached_ ABSL_GUARDED_BY(mutex_);
  absl::Time expires_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<CredentialSource> MakeExecCredential(ExecPlugin plugin, const base::Clock& clock) {
  return std::make_unique<ExecCredential>(std::move(plugin), clock);
}

}  // namespace kube
