#include "local-cluster/runner/tcp_forwarder.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/files.h"

namespace local_cluster {
namespace {

constexpr absl::Duration kConnectTimeout = absl::Seconds(5);
constexpr int kBacklog = 512;

sockaddr_in SocketAddress(const TcpAddress& address) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<uint16_t>(address.port));
  inet_pton(AF_INET, address.host.c_str(), &out.sin_addr);
  return out;
}

void SetNoDelay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// Closes so that the peer sees a reset, as from a node that has no endpoint.
void CloseWithReset(int fd) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close(fd);
}

}  // namespace

absl::StatusOr<int> ListenTcp(const TcpAddress& address) {
  const std::string what = absl::StrFormat("listen on %s:%d", address.host, address.port);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return base::ErrnoStatus(errno, what);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const sockaddr_in socket_address = SocketAddress(address);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&socket_address), sizeof(socket_address)) != 0 ||
      listen(fd, kBacklog) != 0) {
    const int error = errno;
    close(fd);
    return base::ErrnoStatus(error, what);
  }
  return fd;
}

TcpForwarder::TcpForwarder(EventLoop& loop, int accepted, std::vector<TcpAddress> targets,
                           std::function<void()> done)
    : loop_(loop), client_(accepted), targets_(std::move(targets)), done_(std::move(done)) {
  SetNoDelay(client_);
}

TcpForwarder::~TcpForwarder() {
  loop_.Cancel(connect_timer_);
  for (const int fd : {client_, server_}) {
    if (fd < 0) continue;
    loop_.Unwatch(fd);
    close(fd);
  }
}

void TcpForwarder::Start() { ConnectNext(); }

void TcpForwarder::ConnectNext() {
  loop_.Cancel(connect_timer_);
  if (server_ >= 0) {
    loop_.Unwatch(server_);
    close(std::exchange(server_, -1));
  }
  if (next_target_ == targets_.size()) {
    loop_.Unwatch(client_);
    CloseWithReset(std::exchange(client_, -1));
    return Finish();
  }
  const sockaddr_in address = SocketAddress(targets_[next_target_++]);
  server_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (server_ < 0) return Finish();
  if (connect(server_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 &&
      errno != EINPROGRESS) {
    return ConnectNext();
  }
  loop_.Watch(server_, EPOLLOUT, [this](uint32_t) { OnConnected(); });
  connect_timer_ = loop_.After(kConnectTimeout, [this] { ConnectNext(); });
}

void TcpForwarder::OnConnected() {
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(server_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return ConnectNext();
  loop_.Cancel(connect_timer_);
  loop_.Unwatch(server_);
  SetNoDelay(server_);
  UpdateWatches();
}

// Returns false when the connection is broken.
bool TcpForwarder::Pump(int from, int to, Direction& direction) {
  std::array<char, 64 << 10> buffer;
  while (true) {
    while (!direction.pending.empty()) {
      const ssize_t sent =
          send(to, direction.pending.data(), direction.pending.size(), MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN || errno == EINTR;
      direction.pending.erase(0, sent);
    }
    if (direction.read_ended) {
      if (!std::exchange(direction.write_ended, true)) shutdown(to, SHUT_WR);
      return true;
    }
    const ssize_t got = recv(from, buffer.data(), buffer.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) direction.read_ended = true;
    direction.pending.assign(buffer.data(), got);
  }
}

void TcpForwarder::OnReady(uint32_t events) {
  const bool broken = (events & EPOLLERR) != 0;
  if (broken || !Pump(client_, server_, up_) || !Pump(server_, client_, down_) ||
      (up_.write_ended && down_.write_ended)) {
    return Finish();
  }
  UpdateWatches();
}

void TcpForwarder::UpdateWatches() {
  UpdateWatch(true);
  UpdateWatch(false);
}

void TcpForwarder::UpdateWatch(bool client_side) {
  const Direction& reads = client_side ? up_ : down_;
  const Direction& writes = client_side ? down_ : up_;
  uint32_t events = 0;
  if (!reads.read_ended && reads.pending.empty()) events |= EPOLLIN;
  if (!writes.pending.empty()) events |= EPOLLOUT;
  uint32_t& now = client_side ? client_events_ : server_events_;
  if (now == events && events != 0) return;
  now = events;
  const int fd = client_side ? client_ : server_;
  // Without interest an error or a full close would be told again and again.
  if (events == 0) return loop_.Unwatch(fd);
  loop_.Watch(fd, events, [this](uint32_t ready) { OnReady(ready); });
}

void TcpForwarder::Finish() {
  const std::function<void()> done = std::move(done_);
  done();
}

}  // namespace local_cluster
