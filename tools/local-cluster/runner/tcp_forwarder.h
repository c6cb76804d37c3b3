// One forwarded TCP connection.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "local-cluster/runner/event_loop.h"

namespace local_cluster {

struct TcpAddress {
  std::string host;  // IPv4
  int port = 0;

  auto operator<=>(const TcpAddress&) const = default;
};

// Listens on `address`; kPermissionDenied, kAlreadyExists …. Non-blocking.
absl::StatusOr<int> ListenTcp(const TcpAddress& address);

// Copies both ways between an accepted connection and the first of `targets` that takes it. The end
// of one direction is handed on and leaves the other open. Loop's thread only.
class TcpForwarder {
 public:
  // Owns `accepted`. `done` is called once, and may destroy this object.
  TcpForwarder(EventLoop& loop, int accepted, std::vector<TcpAddress> targets,
               std::function<void()> done);
  ~TcpForwarder();
  void Start();

 private:
  // Bytes that one side sent and the other has not taken yet.
  struct Direction {
    std::string pending;
    bool read_ended = false;
    bool write_ended = false;
  };

  void ConnectNext();
  void OnConnected();
  void OnReady(uint32_t events);
  bool Pump(int from, int to, Direction& direction);
  void UpdateWatches();
  void UpdateWatch(bool client_side);
  void Finish();

  EventLoop& loop_;
  int client_;
  int server_ = -1;
  std::vector<TcpAddress> targets_;
  size_t next_target_ = 0;
  std::function<void()> done_;
  EventLoop::TimerId connect_timer_ = 0;
  Direction up_;    // Client → server.
  Direction down_;  // Server → client.
  uint32_t client_events_ = 0;
  uint32_t server_events_ = 0;
};

}  // namespace local_cluster
