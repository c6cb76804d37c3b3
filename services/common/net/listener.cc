#include "common/net/listener.h"

#include <cerrno>
#include <cstring>
#include <system_error>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/net/port_holder.h"

namespace net {
namespace {

constexpr int kBacklog = 1024;

absl::Status BindError(int error, const std::string& address, int port) {
  switch (error) {
    case EADDRINUSE:
      return absl::AlreadyExistsError(
          absl::StrFormat("port %d is taken by %s: stop it or choose another port", port,
                          DescribePortHolder(port)));
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(absl::StrFormat(
          "port %d needs root or CAP_NET_BIND_SERVICE: choose one above 1023", port));
    case EADDRNOTAVAIL:
      return absl::InvalidArgumentError(
          absl::StrFormat("no interface of this host has the address %s", address));
    default:
      return base::ErrnoStatus(error, absl::StrFormat("listen on %s port %d", address, port));
  }
}

absl::Status CloseWith(int fd, absl::Status status) {
  close(fd);
  return status;
}

bool SomebodyListens(const sockaddr_un& address) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool connected =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return connected;
}

}  // namespace

absl::StatusOr<int> ListenTcp(const std::string& address, int port, bool reuse_address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string host = address == "localhost" ? "127.0.0.1" : address;
  if (port < 0 || port > 65535 ||
      getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "cannot listen on %s port %d: give a numeric address and a port up to 65535", address,
        port));
  }
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    freeaddrinfo(found);
    return base::ErrnoStatus(errno, "make a socket");
  }
  const int on = reuse_address ? 1 : 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool bound = bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, kBacklog) == 0;
  const int error = errno;
  freeaddrinfo(found);
  if (!bound) return CloseWith(fd, BindError(error, address, port));
  return fd;
}

absl::StatusOr<int> ListenUnix(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the socket path %s is longer than %d bytes: choose a shorter folder", path,
                        sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  struct stat info = {};
  if (lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) {
      return absl::AlreadyExistsError(absl::StrFormat("%s exists and is no socket", path));
    }
    if (SomebodyListens(address)) {
      return absl::AlreadyExistsError(
          absl::StrFormat("another process listens on %s: stop it or choose another path", path));
    }
    unlink(path.c_str());
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return base::ErrnoStatus(errno, "make a socket");
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      chmod(path.c_str(), 0600) != 0 || listen(fd, kBacklog) != 0) {
    return CloseWith(fd, base::ErrnoStatus(errno, absl::StrFormat("listen on %s", path)));
  }
  return fd;
}

int PortOf(int listener) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
  }
  return 0;
}

}  // namespace net
