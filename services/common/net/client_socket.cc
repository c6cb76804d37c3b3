#include "common/net/client_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"

#include "common/base/clock.h"
#include "common/base/status_macros.h"

namespace net {
namespace {

constexpr size_t kReadBytes = 64 << 10;

struct Address {
  int family = 0;
  std::string bytes;  // A sockaddr.
};

std::string ErrorText(int error) { return std::generic_category().message(error); }

absl::StatusOr<std::vector<Address>> Resolve(const std::string& host, int port, int flags) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrFormat("no address for %s: %s", host, gai_strerror(error)));
  }
  std::vector<Address> addresses;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    addresses.push_back(
        {info->ai_family, std::string(reinterpret_cast<char*>(info->ai_addr), info->ai_addrlen)});
  }
  freeaddrinfo(found);
  return addresses;
}

// getaddrinfo() has no deadline, so names are looked up on a thread that may be left behind.
absl::StatusOr<std::vector<Address>> ResolveUntil(const std::string& host, int port,
                                                  absl::Time deadline) {
  auto numeric = Resolve(host, port, AI_NUMERICHOST);
  if (numeric.ok() || host == "localhost") return numeric.ok() ? numeric : Resolve(host, port, 0);
  struct Lookup {
    absl::Notification done;
    absl::StatusOr<std::vector<Address>> result = absl::UnknownError("");
  };
  const auto lookup = std::make_shared<Lookup>();
  std::thread([lookup, host, port] {
    lookup->result = Resolve(host, port, AI_ADDRCONFIG);
    lookup->done.Notify();
  }).detach();
  if (!lookup->done.WaitForNotificationWithTimeout(deadline - SteadyNow())) {
    return absl::DeadlineExceededError(absl::StrFormat("look up %s: no answer in time", host));
  }
  return lookup->result;
}

}  // namespace

absl::Time SteadyNow() { return absl::UnixEpoch() + base::RealClock().Monotonic(); }

ClientSocket::ClientSocket() : wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

ClientSocket::~ClientSocket() {
  if (fd_ >= 0) close(fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

void ClientSocket::Cancel() {
  cancelled_ = true;
  const uint64_t one = 1;
  if (wake_fd_ >= 0 && write(wake_fd_, &one, sizeof(one)) < 0) return;  // Readable already.
}

absl::Status ClientSocket::Await(short events, absl::Time deadline) {
  while (true) {
    if (cancelled_) return absl::CancelledError("the call was cancelled");
    const absl::Duration left = deadline - SteadyNow();
    if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("no answer in time");
    // Rounded up, so that the loop does not spin in the last millisecond.
    const int64_t wait = absl::ToInt64Milliseconds(std::min(left, absl::Hours(1))) + 1;
    pollfd fds[2] = {{fd_, events, 0}, {wake_fd_, POLLIN, 0}};
    const int ready = poll(fds, 2, static_cast<int>(wait));
    if (ready < 0 && errno != EINTR) {
      return absl::InternalError(absl::StrFormat("poll: %s", ErrorText(errno)));
    }
    if (ready > 0 && fds[0].revents != 0 && !cancelled_) return absl::OkStatus();
  }
}

absl::Status ClientSocket::ConnectTo(const void* address, unsigned address_size, int family,
                                     absl::Time deadline) {
  if (wake_fd_ < 0) return absl::ResourceExhaustedError("no file descriptor left");
  if (fd_ >= 0) close(fd_);
  fd_ = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return absl::ResourceExhaustedError(ErrorText(errno));
  if (family != AF_UNIX) {
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  }
  if (connect(fd_, static_cast<const sockaddr*>(address), address_size) == 0) {
    return absl::OkStatus();
  }
  if (errno != EINPROGRESS) return absl::UnavailableError(ErrorText(errno));
  RETURN_IF_ERROR(Await(POLLOUT, deadline));
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 ? absl::OkStatus() : absl::UnavailableError(ErrorText(error));
}

absl::Status ClientSocket::ConnectTcp(const std::string& host, int port, absl::Time deadline) {
  ASSIGN_OR_RETURN(const std::vector<Address> addresses, ResolveUntil(host, port, deadline));
  absl::Status status = absl::UnavailableError("no address");
  for (const Address& address : addresses) {
    status = ConnectTo(address.bytes.data(), static_cast<unsigned>(address.bytes.size()),
                       address.family, deadline);
    if (status.ok() || absl::IsCancelled(status)) break;
  }
  return base::Annotate(status, absl::StrFormat("connect to %s port %d", host, port));
}

absl::Status ClientSocket::ConnectUnix(const std::string& path, absl::Time deadline) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrFormat("the socket path %s is too long", path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return base::Annotate(ConnectTo(&address, sizeof(address), AF_UNIX, deadline),
                        absl::StrFormat("connect to %s", path));
}

absl::StatusOr<size_t> ClientSocket::Read(std::string* out, absl::Time deadline) {
  const size_t before = out->size();
  while (true) {
    if (cancelled_) return absl::CancelledError("the call was cancelled");
    out->resize(before + kReadBytes);
    const ssize_t size = recv(fd_, out->data() + before, kReadBytes, 0);
    const int error = errno;
    out->resize(before + (size > 0 ? static_cast<size_t>(size) : 0));
    if (size >= 0) return static_cast<size_t>(size);
    if (error == EINTR) continue;
    if (error != EAGAIN && error != EWOULDBLOCK) {
      return absl::UnavailableError(absl::StrFormat("connection lost: %s", ErrorText(error)));
    }
    RETURN_IF_ERROR(Await(POLLIN, deadline));
  }
}

absl::Status ClientSocket::WriteAll(std::string_view data, absl::Time deadline) {
  while (!data.empty()) {
    if (cancelled_) return absl::CancelledError("the call was cancelled");
    const ssize_t size = send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
    if (size >= 0) {
      data.remove_prefix(static_cast<size_t>(size));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      RETURN_IF_ERROR(Await(POLLOUT, deadline));
    } else if (errno != EINTR) {
      return absl::UnavailableError(absl::StrFormat("connection lost: %s", ErrorText(errno)));
    }
  }
  return absl::OkStatus();
}

bool ClientSocket::Stale() const {
  if (cancelled_) return true;
  pollfd fd = {fd_, POLLIN, 0};
  return poll(&fd, 1, 0) != 0;
}

}  // namespace net
