// `kubectl exec` and `kubectl attach`: a program's streams over a WebSocket, in Kubernetes'
// channels.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/net/http_server.h"
#include "local-cluster/apiserver/pod_streams.h"
#include "local-cluster/runner/event_loop.h"
#include "local-cluster/runner/process.h"
#include "local-cluster/runner/web_socket.h"

namespace local_cluster {

// A client's end: channels v4 and v5. Data of the client comes on the loop's thread. Loop's thread
// only, but for the WebSocket's own callbacks.
class ChannelSocket : public std::enable_shared_from_this<ChannelSocket> {
 public:
  struct Callbacks {
    std::function<void(std::string_view)> input;  // Channel 0.
    std::function<void()> input_closed;           // Channel 255, or the connection's end.
    std::function<void(int width, int height)> resize;
    std::function<void()> closed;
  };

  // Answers the upgrade. kUnimplemented when the client offers no protocol that is known here.
  static absl::StatusOr<std::shared_ptr<ChannelSocket>> Accept(
      EventLoop& loop, std::shared_ptr<net::Exchange> exchange);

  // Before the loop runs again: what came meanwhile is told then.
  void Listen(Callbacks callbacks) { callbacks_ = std::move(callbacks); }

  void WriteOutput(std::string_view text) { Write('\1', text); }
  void WriteError(std::string_view text) { Write('\2', text); }
  size_t unsent_bytes() const { return exchange_->unsent_bytes(); }

  // The last word, and the end. `exit_code` 0 is success; a message is an error of ours.
  void Finish(int exit_code, std::string_view message = "");
  void Drop() { callbacks_ = {}; }

 private:
  ChannelSocket(EventLoop& loop, std::shared_ptr<net::Exchange> exchange)
      : loop_(loop), exchange_(std::move(exchange)) {}
  void Write(char channel, std::string_view text);
  void OnBytes(std::string_view bytes);
  void OnMessage(const WebSocketMessage& message);

  EventLoop& loop_;
  const std::shared_ptr<net::Exchange> exchange_;
  WebSocketReader reader_;
  Callbacks callbacks_;
  bool finished_ = false;
};

// A program of its own beside a container's. Ends with the connection.
class ExecSession {
 public:
  // `process` without streams; `done` is called once, later, and may destroy the session.
  static absl::StatusOr<std::unique_ptr<ExecSession>> Start(EventLoop& loop,
                                                            const PodConnection& connection,
                                                            std::shared_ptr<ChannelSocket> socket,
                                                            ProcessOptions process,
                                                            std::function<void()> done);
  ~ExecSession();

 private:
  ExecSession(EventLoop& loop, std::shared_ptr<ChannelSocket> socket, std::function<void()> done)
      : loop_(loop), socket_(std::move(socket)), done_(std::move(done)) {}
  absl::Status Run(const PodConnection& connection, ProcessOptions process);
  absl::Status OpenTerminal(ProcessOptions& process);
  absl::Status OpenPipes(const PodConnection& connection, ProcessOptions& process);
  void WatchOutput(int& fd, bool error);
  void OnOutput(int& fd, bool error);
  void OnInput(std::string_view text);
  void FlushInput();
  void CloseFd(int& fd);
  void End();

  EventLoop& loop_;
  std::shared_ptr<ChannelSocket> socket_;
  std::function<void()> done_;
  std::unique_ptr<Process> process_;
  int terminal_ = -1;  // Ours; with a terminal it is input and output.
  int input_ = -1;
  int output_ = -1;
  int error_ = -1;
  std::string pending_input_;
  bool input_ended_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // For timers that come later.
};

}  // namespace local_cluster
