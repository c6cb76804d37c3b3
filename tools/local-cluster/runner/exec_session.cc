#include "local-cluster/runner/exec_session.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <pty.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

constexpr char kStdin = 0;
constexpr char kErrorChannel = 3;
constexpr char kResize = 4;
constexpr unsigned char kCloseChannel = 255;
constexpr uint16_t kNormalClosure = 1000;
constexpr size_t kPendingInputMax = 4 << 20;
constexpr size_t kUnsentBytesMax = 8 << 20;
constexpr absl::Duration kSlowClient = absl::Milliseconds(20);

// The newest protocol that both sides know; "" for none.
std::string ChooseProtocol(const net::Request& request) {
  for (const std::string_view known : {"v5.channel.k8s.io", "v4.channel.k8s.io"}) {
    for (const std::string_view offered : request.headers.FindAll("sec-websocket-protocol")) {
      if (offered.find(known) != std::string_view::npos) return std::string(known);
    }
  }
  return "";
}

void CloseOnExec(int fd) { fcntl(fd, F_SETFD, FD_CLOEXEC); }
void SetNonBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

}  // namespace

absl::StatusOr<std::shared_ptr<ChannelSocket>> ChannelSocket::Accept(
    EventLoop& loop, std::shared_ptr<net::Exchange> exchange) {
  const net::Request& request = exchange->request();
  const auto key = request.headers.Find("sec-websocket-key");
  const std::string protocol = ChooseProtocol(request);
  if (!key || protocol.empty()) {
    return absl::UnimplementedError(
        "only WebSocket with v5.channel.k8s.io or v4.channel.k8s.io is served: use kubectl 1.31 or "
        "newer");
  }
  std::shared_ptr<ChannelSocket> socket(new ChannelSocket(loop, exchange));
  net::Headers headers;
  headers.Add("Upgrade", "websocket");
  headers.Add("Connection", "Upgrade");
  headers.Add("Sec-WebSocket-Accept", WebSocketAccept(*key));
  headers.Add("Sec-WebSocket-Protocol", protocol);
  exchange->Upgrade(std::move(headers), [socket](std::string_view bytes) {
    socket->loop_.Post([socket, text = std::string(bytes)] { socket->OnBytes(text); });
  });
  return socket;
}

void ChannelSocket::Write(char channel, std::string_view text) {
  if (finished_) return;
  exchange_->Write(WebSocketFrame(WebSocketOpcode::kBinary, channel + std::string(text)));
}

void ChannelSocket::OnBytes(std::string_view bytes) {
  const std::shared_ptr<ChannelSocket> self = shared_from_this();  // Callbacks may let it go.
  std::vector<WebSocketMessage> messages;
  const bool ended = bytes.empty() || !reader_.Feed(bytes, messages).ok();
  for (const WebSocketMessage& message : messages) OnMessage(message);
  if (!ended) return;
  const Callbacks callbacks = std::exchange(callbacks_, {});
  if (callbacks.closed) callbacks.closed();
  exchange_->End();
}

void ChannelSocket::OnMessage(const WebSocketMessage& message) {
  if (message.opcode == WebSocketOpcode::kPing) {
    exchange_->Write(WebSocketFrame(WebSocketOpcode::kPong, message.payload));
  }
  if (message.opcode == WebSocketOpcode::kClose) {
    const Callbacks callbacks = std::exchange(callbacks_, {});
    if (callbacks.closed) callbacks.closed();
    if (!std::exchange(finished_, true)) exchange_->Write(WebSocketClose(kNormalClosure));
    exchange_->End();
    return;
  }
  const bool data =
      message.opcode == WebSocketOpcode::kBinary || message.opcode == WebSocketOpcode::kText;
  if (!data || message.payload.empty()) return;
  const char channel = message.payload[0];
  const std::string_view text = std::string_view(message.payload).substr(1);
  if (channel == kStdin && callbacks_.input) callbacks_.input(text);
  if (static_cast<unsigned char>(channel) == kCloseChannel && text.starts_with(kStdin) &&
      callbacks_.input_closed) {
    callbacks_.input_closed();
  }
  if (channel == kResize && callbacks_.resize) {
    const absl::StatusOr<json::value> size = kube::ParseJson(text);
    if (size.ok()) {
      callbacks_.resize(static_cast<int>(kube::IntAt(*size, {"Width"})),
                        static_cast<int>(kube::IntAt(*size, {"Height"})));
    }
  }
}

void ChannelSocket::Finish(int exit_code, std::string_view message) {
  if (finished_) return;
  json::object status{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object{}}};
  if (exit_code == 0 && message.empty()) {
    status["status"] = "Success";
  } else if (message.empty()) {
    status["status"] = "Failure";
    status["reason"] = "NonZeroExitCode";
    status["message"] =
        absl::StrFormat("command terminated with non-zero exit code: exit status %d", exit_code);
    status["details"] =
        json::object{{"causes", json::array{json::object{{"reason", "ExitCode"},
                                                         {"message", std::to_string(exit_code)}}}}};
  } else {
    status["status"] = "Failure";
    status["reason"] = "InternalError";
    status["message"] = std::string(message);
    status["code"] = 500;
  }
  Write(kErrorChannel, json::serialize(status));
  finished_ = true;
  exchange_->Write(WebSocketClose(kNormalClosure));
  // The client's close frame, or its end, ends the connection.
}

absl::StatusOr<std::unique_ptr<ExecSession>> ExecSession::Start(
    EventLoop& loop, const PodConnection& connection, std::shared_ptr<ChannelSocket> socket,
    ProcessOptions process, std::function<void()> done) {
  std::unique_ptr<ExecSession> session(new ExecSession(loop, std::move(socket), std::move(done)));
  RETURN_IF_ERROR(session->Run(connection, std::move(process)));
  return session;
}

ExecSession::~ExecSession() {
  socket_->Drop();
  process_.reset();
  for (int* fd : {&terminal_, &input_, &output_, &error_}) CloseFd(*fd);
}

absl::Status ExecSession::Run(const PodConnection& connection, ProcessOptions process) {
  RETURN_IF_ERROR(connection.tty ? OpenTerminal(process) : OpenPipes(connection, process));
  Process::Callbacks callbacks;
  callbacks.failed = [this](const absl::Status& status) {
    socket_->Finish(126, std::string(status.message()));
    End();
  };
  callbacks.exited = [this](const ProcessExit& exit) {
    // Everything that it started has ended, so what is in the pipes is the rest.
    if (terminal_ >= 0) OnOutput(terminal_, false);
    if (output_ >= 0) OnOutput(output_, false);
    if (error_ >= 0) OnOutput(error_, true);
    socket_->Finish(exit.exit_code);
    End();
  };
  const std::vector<int> theirs = {process.input_fd, process.output_fd, process.error_fd};
  absl::StatusOr<std::unique_ptr<Process>> started =
      Process::Start(loop_, process, std::move(callbacks));
  std::vector<int> closed;
  for (const int fd : theirs) {
    if (fd >= 0 && std::ranges::find(closed, fd) == closed.end()) close(fd);
    closed.push_back(fd);
  }
  RETURN_IF_ERROR(started.status());
  process_ = std::move(*started);
  socket_->Listen({.input = [this](std::string_view text) { OnInput(text); },
                   .input_closed =
                       [this] {
                         input_ended_ = true;
                         FlushInput();
                       },
                   .resize =
                       [this](int width, int height) {
                         if (terminal_ < 0) return;
                         winsize size{};
                         size.ws_col = static_cast<unsigned short>(width);
                         size.ws_row = static_cast<unsigned short>(height);
                         ioctl(terminal_, TIOCSWINSZ, &size);
                       },
                   .closed = [this] { process_->Kill(); }});
  return absl::OkStatus();
}

absl::Status ExecSession::OpenTerminal(ProcessOptions& process) {
  int theirs = -1;
  if (openpty(&terminal_, &theirs, nullptr, nullptr, nullptr) != 0) {
    return base::ErrnoStatus(errno, "open a terminal");
  }
  CloseOnExec(terminal_);
  CloseOnExec(theirs);
  SetNonBlocking(terminal_);
  process.input_fd = process.output_fd = process.error_fd = theirs;
  WatchOutput(terminal_, false);
  return absl::OkStatus();
}

absl::Status ExecSession::OpenPipes(const PodConnection& connection, ProcessOptions& process) {
  std::array<int, 2> ends{};
  if (connection.stdin_open) {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return base::ErrnoStatus(errno, "pipe");
    process.input_fd = ends[0];
    input_ = ends[1];
    SetNonBlocking(input_);
  }
  for (auto [ours, theirs] :
       {std::pair{&output_, &process.output_fd}, std::pair{&error_, &process.error_fd}}) {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return base::ErrnoStatus(errno, "pipe");
    *ours = ends[0];
    *theirs = ends[1];
    SetNonBlocking(*ours);
  }
  WatchOutput(output_, false);
  WatchOutput(error_, true);
  return absl::OkStatus();
}

void ExecSession::WatchOutput(int& fd, bool error) {
  loop_.Watch(fd, EPOLLIN, [this, &fd, error](uint32_t) { OnOutput(fd, error); });
}

void ExecSession::OnOutput(int& fd, bool error) {
  std::array<char, 32 << 10> buffer;
  while (fd >= 0) {
    if (socket_->unsent_bytes() > kUnsentBytesMax) {  // A slow client slows its own program.
      loop_.Unwatch(fd);
      loop_.After(kSlowClient, [this, &fd, error, alive = std::weak_ptr<int>(alive_)] {
        if (!alive.expired() && fd >= 0) WatchOutput(fd, error);
      });
      return;
    }
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return CloseFd(fd);  // A terminal without a program answers EIO.
    const std::string_view text(buffer.data(), got);
    error ? socket_->WriteError(text) : socket_->WriteOutput(text);
  }
}

void ExecSession::OnInput(std::string_view text) {
  if (pending_input_.size() + text.size() > kPendingInputMax) {
    socket_->Finish(1, "the program does not read its input");
    return process_->Kill();
  }
  pending_input_ += text;
  FlushInput();
}

void ExecSession::FlushInput() {
  const int fd = terminal_ >= 0 ? terminal_ : input_;
  if (fd < 0) return;
  while (!pending_input_.empty()) {
    const ssize_t sent = write(fd, pending_input_.data(), pending_input_.size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN && fd == input_) {
      loop_.Watch(fd, EPOLLOUT, [this](uint32_t) { FlushInput(); });
      return;
    }
    if (sent < 0) break;  // Nobody reads it any more.
    pending_input_.erase(0, sent);
  }
  pending_input_.clear();
  if (input_ >= 0) loop_.Unwatch(input_);
  if (input_ended_ && input_ >= 0) CloseFd(input_);
}

void ExecSession::CloseFd(int& fd) {
  if (fd < 0) return;
  loop_.Unwatch(fd);
  close(std::exchange(fd, -1));
}

void ExecSession::End() {
  socket_->Drop();
  loop_.Post(std::exchange(done_, [] {}));
}

}  // namespace local_cluster
