#include "local-cluster/supervisor/state_folder.h"

#include <cerrno>
#include <cstdlib>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "common/net/digest.h"

namespace local_cluster {
namespace {

// The port that was bound: `port`, or a free one for 0.
absl::StatusOr<int> TryPort(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return base::ErrnoStatus(errno, "socket");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0;
  const int error = errno;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  if (!bound) return base::ErrnoStatus(error, absl::StrFormat("port %d", port));
  return static_cast<int>(ntohs(address.sin_port));
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateFolder>> StateFolder::Open(const std::string& path) {
  for (const std::string_view folder : {"", "/data", "/pods", "/volumes", "/logs", "/run"}) {
    RETURN_IF_ERROR(base::CreateDirectories(path + std::string(folder)));
  }
  const std::string lock_path = path + "/lock";
  const int fd = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return base::ErrnoStatus(errno, absl::StrFormat("open %s", lock_path));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int pid = atoi(base::ReadFile(lock_path, 64).value_or("0").c_str());
    close(fd);
    return absl::FailedPreconditionError(absl::StrFormat(
        "another local-cluster (pid %d) runs on %s: stop it (kill %d), or use another --state_dir",
        pid, path, pid));
  }
  const std::string pid = absl::StrFormat("%d\n", getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    close(fd);
    return base::ErrnoStatus(errno, absl::StrFormat("write %s", lock_path));
  }
  std::unique_ptr<StateFolder> folder(new StateFolder(path, fd));
  RETURN_IF_ERROR(folder->LoadPorts());
  return folder;
}

// The file stays: removing it would let two processes lock two files of that name.
StateFolder::~StateFolder() { close(lock_); }

std::string StateFolder::Path(std::string_view name) const {
  return absl::StrFormat("%s/%s", path_, name);
}

absl::Status StateFolder::LoadPorts() {
  if (!base::FileExists(Path("ports.json"))) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(Path("ports.json")));
  absl::StatusOr<boost::json::value> ports = kube::ParseJson(text);
  if (!ports.ok()) return base::Annotate(ports.status(), Path("ports.json"));
  if (!ports->is_object()) return absl::OkStatus();
  for (const auto& entry : ports->get_object()) {
    const std::string name(entry.key());
    const int64_t port = kube::IntAt(*ports, {name});
    if (port > 0 && port < 65536) ports_[name] = static_cast<int>(port);
  }
  return absl::OkStatus();
}

absl::Status StateFolder::SavePorts() {
  if (!std::exchange(ports_changed_, false)) return absl::OkStatus();
  boost::json::object ports;
  for (const auto& [name, port] : ports_) ports[name] = port;
  return base::WriteFileAtomic(Path("ports.json"), boost::json::serialize(ports));
}

absl::StatusOr<int> StateFolder::Port(const std::string& name, int wanted) {
  const auto kept = ports_.find(name);
  const int first = wanted != 0 ? wanted : kept != ports_.end() ? kept->second : 0;
  absl::StatusOr<int> port = TryPort(first);
  if (!port.ok() && wanted != 0) {
    return absl::AlreadyExistsError(absl::StrFormat(
        "port %d for %s is taken: stop what listens there, or give another", wanted, name));
  }
  if (!port.ok()) {
    base::LogWarning("kept port is taken, another one is used", {{"name", name}, {"port", first}});
    port = TryPort(0);
    RETURN_IF_ERROR(port.status());
  }
  if (kept == ports_.end() || kept->second != *port) {
    ports_[name] = *port;
    ports_changed_ = true;
  }
  return port;
}

absl::StatusOr<std::string> StateFolder::Secret(std::string_view name) {
  const std::string path = Path(absl::StrFormat("run/%s", name));
  if (base::FileExists(path)) return base::ReadFile(path, 4096);
  std::string secret = net::RandomHex(64);
  RETURN_IF_ERROR(base::WriteFileAtomic(path, secret));
  return secret;
}

}  // namespace local_cluster
